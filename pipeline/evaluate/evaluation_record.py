"""The record of an evaluation: the results of each split and the files of every table."""

from contextlib import suppress
from typing import Literal, Self

from pydantic import model_validator

from model.errors import CorruptArtefact
from pipeline.storage.files import remove_file, write_atomically
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


class EvaluationRecord(Record):
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
    """Load the record of a run's evaluation; raises CorruptArtefact, also if it is of another model or data set."""
    path = workspace / "runs" / run.run_id / EVALUATION_NAME
    record = EvaluationRecord.load(path)
    if (record.dataset_digest, record.model_digest) != (run.dataset_digest, run.parameters.sha256):
        raise CorruptArtefact(f"{path} is the evaluation of another model or data set than {RUN_NAME} names")
    return record


def check_evaluation(workspace: Place, run: RunRecord) -> EvaluationRecord:
    """Load a run's evaluation and verify the files that it names; raises CorruptArtefact."""
    record = load_evaluation(workspace, run)
    for table in record.tables:
        table.check(table.folder(workspace, run.run_id))
    return record


def finish_interrupted_addition(workspace: Place, run: RunRecord) -> None:
    """Put the next record in the place of the record if its table `slices` is in place, else delete it.

    There is a next record only while slicings are added, and after a process that added some was killed. The process
    must hold the lock of the workspace. Raises CorruptArtefact if the next record cannot be read.
    """
    folder = workspace / "runs" / run.run_id
    path = folder / NEXT_NAME
    if not path.exists():
        return
    record = EvaluationRecord.load(path)
    [file] = [file for file in record.tables if file.table == "slices"]
    with suppress(CorruptArtefact):
        file.check(file.folder(workspace, run.run_id))
        write_atomically(folder / EVALUATION_NAME, record.to_json())
    remove_file(path)
