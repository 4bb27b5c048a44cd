"""A run: its identity, its folder, and the records that say what it is made of and what came of it."""

import hashlib
import json
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from model.errors import BadUsage, CorruptArtefact
from model.random_streams import STREAMS_VERSION
from model.recipes import TrainingConfig
from pipeline import storage
from pipeline.manifest import Count, Digest, FileInfo, FileName, Record
from pipeline.places import Place
from pipeline.tables.files import partition

RUN_NAME = "run.json"
EVALUATION_NAME = "evaluation.json"
PARAMETERS_NAME = "parameters.safetensors"
CHECKPOINTS_NAME = "checkpoints"  # a folder of a run that is not complete
TENSORBOARD_NAME = "tensorboard"
CHAMPION = "champion"  # names whichever run that is


def _is_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$"
UtcTime = Annotated[str, StringConstraints(pattern=_TIME), AfterValidator(_is_time)]
_PACKAGES = ("backbeam", "tensorflow", "numpy", "apache-beam", "pyarrow", "safetensors")


class TableFile(FileInfo):
    """A Parquet file of a run.

    Attributes:
        table: the table whose rows it holds.
    """

    table: FileName

    def folder(self, workspace: Place, run_id: str) -> Place:
        """Return the folder that the file is in."""
        return workspace / partition(self.table, run_id)


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


class SplitResult(Record):
    """A split's row of the table `evaluations`, without its origin."""

    split: str
    num_examples: Count
    num_correct: Count
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    loss: float
    ece: float
    brier: float
    first_1000_examples: Count
    first_1000_correct: Count
    never_predicted: tuple[str, ...]


class EvaluationRecord(Record):
    """A finished evaluation; written after every table that it names.

    Attributes:
        run_id: of the run.
        dataset_digest: SHA-256 of the data set's manifest.
        model_digest: SHA-256 of the parameters' file.
        results: one for each split.
        slicings: the user's slicings that the table `slices` has, by name: MODULE:FUNCTION.
        tables: every Parquet file that was written.
    """

    format_version: Literal[2] = 2
    run_id: FileName
    dataset_digest: Digest
    model_digest: Digest
    results: tuple[SplitResult, ...]
    slicings: dict[str, str]
    tables: tuple[TableFile, ...]

    @model_validator(mode="after")
    def _has_a_test_split(self) -> Self:
        self.test_result()
        return self

    def test_result(self) -> SplitResult:
        """Return the test split's result."""
        found = [result for result in self.results if result.split == "test"]
        if len(found) != 1:
            raise ValueError("expected one result for the test split")
        return found[0]


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


def now() -> str:
    """Return the time as records have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


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


def load_evaluation(workspace: Place, run: RunRecord) -> EvaluationRecord:
    """Read the record of a run's evaluation; raises CorruptArtefact if it is not sound or not of that run."""
    path = workspace / "runs" / run.run_id / EVALUATION_NAME
    record = EvaluationRecord.load(path)
    if (record.dataset_digest, record.model_digest) != (run.dataset_digest, run.parameters.sha256):
        raise CorruptArtefact(f"{path} is the evaluation of another model or data set than {RUN_NAME} names")
    return record


def check_evaluation(workspace: Place, run: RunRecord) -> EvaluationRecord:
    """Load a run's evaluation and check the files it names; raises CorruptArtefact for the first that is not right."""
    record = load_evaluation(workspace, run)
    for table in record.tables:
        table.check(table.folder(workspace, run.run_id))
    return record


def find_run_folder(workspace: Place, wanted: str | None) -> Place:
    """Find a complete run by its id, by a beginning of its id, as the only one, or as the champion.

    Raises:
        BadUsage: none fits, several do, or there is no champion.
        CorruptArtefact: the pointer to the champion is not sound.
    """
    if wanted == CHAMPION:
        from pipeline.registry.history import find_champion

        wanted = find_champion(workspace).run_id
    return find_complete(workspace / "runs", RUN_NAME, wanted, "run")


def find_complete(parent: Place, record_name: str, wanted: str | None, what: str) -> Place:
    """Find a complete data set or run by its id, by a beginning of its id, or as the only one.

    Args:
        parent: the folder of all of them.
        record_name: the file whose presence means complete.
        wanted: the id or its beginning; None for the only one.
        what: "data set" or "run", for messages.

    Raises:
        BadUsage: none fits, or several do.
    """
    ids = [folder.name for folder in storage.folders_with(parent, record_name)]
    fitting = next(filter(None, ([name for name in ids if fits(name)] for fits in _ways_to_fit(wanted))), [])
    if len(fitting) != 1:
        problem = "several fit" if fitting else "there is none"
        listed = "".join(f"\n  {name}" for name in fitting or ids)
        raise BadUsage(f"which {what}? {problem}{f' for {wanted!r}' if wanted else ''} in {parent}{listed}")
    return parent / fitting[0]


def _ways_to_fit(wanted: str | None) -> list[Callable[[str], bool]]:
    """Order the ways to name one: all of it, all but its digest, its beginning."""
    if wanted is None:
        return [lambda name: True]
    return [
        lambda name: name == wanted,
        lambda name: name.rpartition("-")[0] == wanted,
        lambda name: name.startswith(wanted),
    ]
