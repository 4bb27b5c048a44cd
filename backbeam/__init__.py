"""The public API of backbeam: the names that programs may import.

`run`, `preprocess`, `validate`, `train`, `evaluate`, `retrain`, `report` and `learn` do what the commands of the same
names do; `open_workspace` reads what they wrote. They return records and raise `BackbeamError`. This package turns
keyword arguments into the configurations of `pipeline` (stages, storage, command line) and `model` (the network and
its training), where the code is. Their modules may move between releases; names in `backbeam` do not.

`import backbeam` loads neither TensorFlow nor Beam nor NumPy: a function imports what it needs when it is called.
"""

from importlib.metadata import version

from backbeam.jobs import evaluate, preprocess, retrain, run, train, validate
from backbeam.pages import learn, report
from backbeam.workspace import Workspace, WorkspaceDataset, WorkspaceRun, open_workspace
from model.errors import (
    BackbeamError,
    BadInput,
    BadUsage,
    CorruptArtefact,
    EngineFailed,
    Locked,
    NothingRun,
    StorageFailed,
    UnknownFormat,
)

__version__ = version("backbeam")

__all__ = [
    "BackbeamError",
    "BadInput",
    "BadUsage",
    "CorruptArtefact",
    "EngineFailed",
    "Locked",
    "NothingRun",
    "StorageFailed",
    "UnknownFormat",
    "Workspace",
    "WorkspaceDataset",
    "WorkspaceRun",
    "__version__",
    "evaluate",
    "learn",
    "open_workspace",
    "preprocess",
    "report",
    "retrain",
    "run",
    "train",
    "validate",
]
