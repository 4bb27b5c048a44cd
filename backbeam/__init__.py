"""The public API of backbeam: the names that programs may import.

This package only re-exports. The code is in the packages `pipeline` (stages, storage, command line) and `model` (the
network and its training), whose modules may move between releases; names in `backbeam` do not.
"""

from importlib.metadata import version

from model.errors import BackbeamError, BadInput, BadUsage, CorruptArtefact, EngineFailed, Locked, StorageFailed

__version__ = version("backbeam")

__all__ = [
    "BackbeamError",
    "BadInput",
    "BadUsage",
    "CorruptArtefact",
    "EngineFailed",
    "Locked",
    "StorageFailed",
    "__version__",
]
