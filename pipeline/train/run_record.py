"""The record of a run: what it was trained from, what it wrote, and how its id is derived."""

import hashlib
import json
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from model.errors import CorruptArtefact
from model.random_streams import STREAMS_VERSION
from model.recipes import TrainingConfig
from pipeline.processes import code_digest
from pipeline.storage.formats import VersionedRecord
from pipeline.storage.places import Place
from pipeline.storage.records import Count, Digest, FileInfo, FileName, Record, UtcTime
from pipeline.storage.tables import TableFile

RUN_NAME = "run.json"
PARAMETERS_NAME = "parameters.safetensors"
CHECKPOINTS_NAME = "checkpoints"  # a folder that only an incomplete run has
TENSORBOARD_NAME = "tensorboard"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # of the name that a user gives to a run

_PACKAGES = ("backbeam", "tensorflow", "numpy", "apache-beam", "pyarrow", "safetensors")
_PROCESSOR = re.compile(r"^model name\s*: (.+)$", re.MULTILINE)
_CPU_INFO = Path("/proc/cpuinfo")


class StepAgreement(Record):
    """Agreement of manual and autodiff gradients over a run in lockstep; see `model.lockstep.Agreement`."""

    largest_difference: float  # absolute, of a parameter after one step, over all steps
    drift: float  # largest absolute difference between the two networks at the end
    largest_parameter: float  # absolute, of the manual network at the end


class Conditions(Record):
    """What can decide the bits of a run besides its data and its configuration."""

    code_digest: Digest  # of the source files of backbeam
    machine: str  # the processor's architecture, and its model if the system tells it
    num_processors: Count
    inter_op_threads: Count  # of TensorFlow, between operations; 0 for its default
    intra_op_threads: Count  # within an operation
    xla_flags: str  # XLA_FLAGS of the environment when the run was compiled


class RunRecord(VersionedRecord):
    """The record of a complete run. It is written last, so a folder without it is incomplete."""

    format_version: Literal[3] = 3
    run_id: FileName
    dataset_id: FileName
    dataset_digest: Digest  # of the data set's manifest
    config: TrainingConfig
    parameters: FileInfo
    tables: tuple[TableFile, ...]  # that training wrote
    agreement: StepAgreement | None  # None unless manual and autodiff were trained in lockstep
    device: str
    seconds: float  # of training, compilation included
    finished: UtcTime
    versions: dict[str, str]  # of Python and of the packages that training depends on
    conditions: Conditions
    resumed_at: tuple[Count, ...] = Field((), exclude_if=lambda steps: not steps)  # the steps
    name: Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=100)] | None = Field(
        None, exclude_if=lambda name: name is None
    )  # that a user gave it; no part of the id
    # from a point of the learning curve to the next; earlier versions recorded none, as it was always the default
    steps_per_point: Annotated[int, Field(gt=0)] = Field(1000, exclude_if=lambda steps: steps == 1000)
    # None for a short run, for a large network, and where an earlier version wrote none
    early_parameters: FileInfo | None = Field(None, exclude_if=lambda file: file is None)

    @property
    def parameter_files(self) -> tuple[FileInfo, ...]:
        """The files of parameters in the run's folder, those of the trained network first."""
        return (self.parameters, self.early_parameters) if self.early_parameters else (self.parameters,)


def run_id(dataset_digest: str, config: TrainingConfig) -> str:
    """Return the id of a run: recipe, step and seed, and a digest of all that decides its parameters.

    The versions of backbeam, of the random streams and of TensorFlow are part of the digest, so a run of other versions
    is neither resumed nor taken for this one. The machine is not.
    """
    versions = [version("backbeam"), STREAMS_VERSION, version("tensorflow")]
    identity = json.dumps([dataset_digest, config.digest, *versions])
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    step = "" if config.recipe.endswith(config.step) else f"-{config.step}"
    return f"{config.recipe}{step}-seed{config.seed}-{digest}"


def current_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that training depends on."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def current_conditions() -> Conditions:
    """Return the conditions of this process; call it after compilation, which may set XLA_FLAGS."""
    import tensorflow as tf  # slow to import

    processor = _PROCESSOR.search(_CPU_INFO.read_text()) if _CPU_INFO.exists() else None
    return Conditions(
        code_digest=code_digest(),
        machine=f"{platform.machine()}, {processor[1]}" if processor else platform.machine(),
        num_processors=os.cpu_count() or 0,
        inter_op_threads=tf.config.threading.get_inter_op_parallelism_threads(),
        intra_op_threads=tf.config.threading.get_intra_op_parallelism_threads(),
        xla_flags=os.environ.get("XLA_FLAGS", ""),
    )


def compare_conditions(first: RunRecord, second: RunRecord) -> dict[str, tuple[str, str]]:
    """Return the conditions, versions and devices in which two runs differ, by name, with both values."""
    before = _all_conditions(first)
    after = _all_conditions(second)
    pairs = {name: (str(before.get(name, "")), str(after.get(name, ""))) for name in sorted({*before, *after})}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _all_conditions(run: RunRecord) -> dict[str, Any]:
    return run.versions | run.conditions.model_dump(mode="json") | {"device": run.device}


def load_run(folder: Place) -> RunRecord:
    """Load the record of a run; raises CorruptArtefact if it is missing, corrupt or of another run."""
    path = folder / RUN_NAME
    if not path.exists():
        raise CorruptArtefact(f"{path} is missing", hint=f"delete {folder}, and train again")
    record = RunRecord.load(path)
    if record.run_id != folder.name:
        raise CorruptArtefact(f"{path} describes {record.run_id}, expected {folder.name}")
    return record


def check_run(workspace: Place, folder: Place) -> RunRecord:
    """Load the record of a run and check the files it names; raises CorruptArtefact if one does not match."""
    record = load_run(folder)
    for file in record.parameter_files:
        file.check(folder)
    for table in record.tables:
        table.check(table.folder(workspace, record.run_id))
    return record
