"""The record of an evaluation: the results of each split and the files of every table."""

from typing import Literal, Self

from pydantic import model_validator

from model.errors import CorruptArtefact
from pipeline.preprocess.dataset import check_files
from pipeline.sources.scan_tasks import MapTasks, map_here
from pipeline.storage.files import remove_file, write_atomically
from pipeline.storage.formats import VersionedRecord
from pipeline.storage.places import Place
from pipeline.storage.records import Count, Digest, FileName, Record
from pipeline.storage.tables import TableFile
from pipeline.train.run_record import RUN_NAME, RunRecord

EVALUATION_NAME = "evaluation.json"
NEXT_NAME = "evaluation-next.json"  # of the record that replaces the former when slicings are added


class SplitResult(Record):
    """A split's row of the table `evaluations`, without the columns of its origin."""

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


class EvaluationRecord(VersionedRecord):
    """A complete evaluation; written after every file that it names."""

    format_version: Literal[2] = 2
    run_id: FileName
    dataset_digest: Digest  # of the data set's manifest
    model_digest: Digest  # of the parameters' file
    results: tuple[SplitResult, ...]  # one for each split
    slicings: dict[str, str]  # by name: MODULE:NAME of a user's slicing, the name itself of a built-in one
    tables: tuple[TableFile, ...]  # every Parquet file

    @model_validator(mode="after")
    def _has_a_test_split(self) -> Self:
        self.test_result()
        return self

    def test_result(self) -> SplitResult:
        """Return the test split's result."""
        results = [result for result in self.results if result.split == "test"]
        if len(results) != 1:
            raise ValueError("expected one result for the test split")
        return results[0]


def load_evaluation(workspace: Place, run: RunRecord) -> EvaluationRecord:
    """Load the record of a run's evaluation; raises CorruptArtefact, also if it is of another model or data set.

    If a process was killed while it added slicings, it is the next record where that one's table is in place.
    """
    path = workspace / "runs" / run.run_id / EVALUATION_NAME
    record = EvaluationRecord.load(path)
    record = _load_next(workspace, run) or record
    if (record.dataset_digest, record.model_digest) != (run.dataset_digest, run.parameters.sha256):
        raise CorruptArtefact(f"{path} is the evaluation of another model or data set than {RUN_NAME} names")
    return record


def check_evaluation(workspace: Place, run: RunRecord, map_tasks: MapTasks = map_here) -> EvaluationRecord:
    """Load a run's evaluation and verify the files that it names; raises CorruptArtefact and StorageFailed.

    map_tasks runs the tasks that read the files of a large one.
    """
    record = load_evaluation(workspace, run)
    check_files([(table.folder(workspace, run.run_id), table) for table in record.tables], map_tasks)
    return record


def finish_interrupted_addition(workspace: Place, run: RunRecord) -> None:
    """Replace the record by the next one if that one's table is in place, and delete the next one, if there is any.

    The process must hold the lock of the workspace. Raises CorruptArtefact if the next record cannot be read.
    """
    folder = workspace / "runs" / run.run_id
    if not (folder / NEXT_NAME).exists():
        return
    record = _load_next(workspace, run)
    if record:
        write_atomically(folder / EVALUATION_NAME, record.to_json())
    remove_file(folder / NEXT_NAME)


def _load_next(workspace: Place, run: RunRecord) -> EvaluationRecord | None:
    """Load the next record; None if there is none, or its table `slices` is not in place."""
    try:
        record = EvaluationRecord.load(workspace / "runs" / run.run_id / NEXT_NAME)
    except FileNotFoundError:
        return None
    [file] = [file for file in record.tables if file.table == "slices"]
    try:
        file.check(file.folder(workspace, run.run_id))
    except CorruptArtefact:
        return None
    return record
