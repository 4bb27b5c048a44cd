"""The public face of backbeam. It re-exports what programs may import, and holds no logic of its own.

The code is in the packages `pipeline` (stages, storage, command line) and `model` (the network and its training). Their
modules may move between releases; names in `backbeam` do not.
"""

from importlib.metadata import version

from model.errors import (
    BackbeamError,
    BadInput,
    BadUsage,
    CorruptArtefact,
    EngineFailed,
    Locked,
    StorageFailed,
)

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
