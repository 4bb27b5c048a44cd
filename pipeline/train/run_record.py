"""A run: its identity, its folder, and the records that say what it is made of and what came of it."""

import hashlib
import json
import platform
from importlib.metadata import version
from typing import Literal

from pydantic import Field

from model.errors import CorruptArtefact
from model.random_streams import STREAMS_VERSION
from model.recipes import TrainingConfig
from pipeline.storage.places import Place
from pipeline.storage.records import Count, Digest, FileInfo, FileName, Record, UtcTime
from pipeline.storage.tables import TableFile

RUN_NAME = "run.json"
PARAMETERS_NAME = "parameters.safetensors"
CHECKPOINTS_NAME = "checkpoints"  # a folder of a run that is not complete
TENSORBOARD_NAME = "tensorboard"


_PACKAGES = ("backbeam", "tensorflow", "numpy", "apache-beam", "pyarrow", "safetensors")


class StepAgreement(Record):
    """How the two ways to the gradients agreed over a run in lockstep; see `model.lockstep.Agreement`.

    Attributes:
        largest_difference: of one step, over all steps.
        drift: of the two networks at the end.
        largest_parameter: of the manual network at the end.
    """

    largest_difference: float
    drift: float
    largest_parameter: float


class Conditions(Record):
    """What besides the data and the configuration can decide a run's bits.

    Attributes:
        code_digest: SHA-256 of the source files of this program.
        machine: the processor's architecture, and its model where the system says it.
        num_processors: that the machine has.
        inter_op_threads: of TensorFlow, between operations; 0 for its own choice.
        intra_op_threads: of TensorFlow, within an operation; 0 for its own choice.
        xla_flags: as the environment had them while the run was compiled.
    """

    code_digest: Digest
    machine: str
    num_processors: Count
    inter_op_threads: Count
    intra_op_threads: Count
    xla_flags: str


class RunRecord(Record):
    """A finished training run; written last, so its presence means complete.

    Attributes:
        run_id: the name of the run's folder.
        dataset_id: the data set's folder.
        dataset_digest: SHA-256 of its manifest.
        config: as trained.
        parameters: the model's file, in the run's folder.
        tables: every Parquet file that training wrote.
        agreement: of manual and autodiff, if both ran in lockstep.
        device: what it was trained on.
        seconds: of training, compilation included.
        finished: when, in UTC, as ISO 8601 writes it.
        versions: of Python and of the packages that took part.
        resumed_at: the steps from which it went on after it was broken off; left out of the file if it never was.
        conditions: what else can decide the bits.
    """

    format_version: Literal[3] = 3
    run_id: FileName
    dataset_id: FileName
    dataset_digest: Digest
    config: TrainingConfig
    parameters: FileInfo
    tables: tuple[TableFile, ...]
    agreement: StepAgreement | None
    device: str
    seconds: float
    finished: UtcTime
    versions: dict[str, str]
    conditions: Conditions
    resumed_at: tuple[Count, ...] = Field((), exclude_if=lambda steps: not steps)


def run_id(dataset_digest: str, config: TrainingConfig) -> str:
    """Name a run by everything that decides its parameters on one kind of machine."""
    versions = [version("backbeam"), STREAMS_VERSION, version("tensorflow")]
    identity = json.dumps([dataset_digest, config.digest, *versions])
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    step = "" if config.recipe.endswith(config.step) else f"-{config.step}"
    return f"{config.recipe}{step}-seed{config.seed}-{digest}"


def current_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that take part in a run."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def load_run(folder: Place) -> RunRecord:
    """Read a run's record; raises CorruptArtefact if it is not sound."""
    path = folder / RUN_NAME
    if not path.exists():
        raise CorruptArtefact(f"{path} is missing: delete {folder}, and train again")
    record = RunRecord.load(path)
    if record.run_id != folder.name:
        raise CorruptArtefact(f"{path} describes {record.run_id}, expected {folder.name}")
    return record


def check_run(workspace: Place, folder: Place) -> RunRecord:
    """Load a run's record and check the files it names; raises CorruptArtefact for the first that is not right."""
    record = load_run(folder)
    record.parameters.check(folder)
    for table in record.tables:
        table.check(table.folder(workspace, record.run_id))
    return record
