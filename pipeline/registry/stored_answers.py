"""A run's answers to the test split of a data set, which decisions compare.

For a data set that is not the run's own, they are stored in registry/contests/DATASET_ID/RUN_ID, the record last.
"""

from typing import Literal

import pyarrow as pa

from model.errors import BadInput, CorruptArtefact
from pipeline.context import StageContext, capture_engine_messages, quiet_imports
from pipeline.evaluate.evaluation_record import EVALUATION_NAME
from pipeline.evaluate.table_reader import ANSWER_COLUMNS, read_answers, sort_by_example
from pipeline.preprocess.dataset import Dataset, load_dataset
from pipeline.preprocess.manifest import Manifest
from pipeline.storage.files import make_empty_folder, remove_on_failure
from pipeline.storage.formats import VersionedRecord
from pipeline.storage.places import Place
from pipeline.storage.records import Count, Digest, FileInfo, FileName, commit_file
from pipeline.storage.tables import decode_table
from pipeline.storage.workspace import temporary_files_in
from pipeline.train.run_lookup import load_dataset_of
from pipeline.train.run_record import RunRecord

ANSWERS_NAME = "contest.json"


class AnswersRecord(VersionedRecord):
    """A run's answers to the test split of a data set that it was not trained on; written after the files it names."""

    format_version: Literal[1] = 1
    run_id: FileName
    model_digest: Digest  # of the parameters' file
    dataset_id: FileName
    dataset_digest: Digest  # of the data set's manifest
    num_examples: Count
    files: tuple[FileInfo, ...]  # Parquet files of the table `answers`


def answers_folder(workspace: Place, dataset_id: str, run_id: str) -> Place:
    """Return the folder of a run's answers to a data set that it was not trained on."""
    return workspace / "registry" / "contests" / dataset_id / run_id


def load_answers(context: StageContext, dataset: Dataset, run: RunRecord) -> pa.Table:
    """Return a run's answers to the test split of a data set as `read_answers` does; predict them if none are stored.

    Raises BadInput if the data set has another image size or other classes than the run's own, CorruptArtefact if a
    file does not match its record, and EngineFailed.
    """
    evaluation = context.workspace / "runs" / run.run_id / EVALUATION_NAME
    if run.dataset_digest == dataset.digest and evaluation.exists():
        return read_answers(context.workspace, run.run_id, "test")
    folder = answers_folder(context.workspace, dataset.manifest.dataset_id, run.run_id)
    if not (folder / ANSWERS_NAME).exists():
        check_fits(context.workspace, dataset.manifest, run)
        predict_answers(context, dataset, run, folder)
    record = load_answers_record(folder)
    if (record.dataset_digest, record.model_digest) != (dataset.digest, run.parameters.sha256):
        raise CorruptArtefact(f"{folder / ANSWERS_NAME} is of another model or data set: delete {folder}")
    rows = pa.concat_tables([decode_table(file.read(folder), str(folder / file.name)) for file in record.files])
    return sort_by_example(rows.select(ANSWER_COLUMNS))


def predict_answers(context: StageContext, dataset: Dataset, run: RunRecord, folder: Place) -> None:
    """Predict and write a run's answers to a data set's test split, then the record; raises as `load_answers`."""
    with quiet_imports():
        from pipeline.evaluate.beam_job import answer_test_split

    make_empty_folder(folder)  # deletes the files of an attempt that was killed
    with (
        temporary_files_in(context.workspace),
        capture_engine_messages(context.engine_log),
        remove_on_failure(folder, record=folder / ANSWERS_NAME),
    ):
        names = answer_test_split(context.workspace, dataset, run, folder, list(context.beam_arguments))
        record = AnswersRecord(
            run_id=run.run_id,
            model_digest=run.parameters.sha256,
            dataset_id=dataset.manifest.dataset_id,
            dataset_digest=dataset.digest,
            num_examples=dataset.manifest.splits["test"].num_examples,
            files=tuple(FileInfo.of(folder / name) for name in names),
        )
        commit_file(folder / ANSWERS_NAME, record.to_json())


def load_answers_record(folder: Place) -> AnswersRecord:
    """Load the record of a run's answers; raises CorruptArtefact if it is corrupt or belongs in another folder."""
    path = folder / ANSWERS_NAME
    record = AnswersRecord.load(path)
    if (record.dataset_id, record.run_id) != (folder.parent.name, folder.name):
        raise CorruptArtefact(f"{path} is of {record.run_id} on {record.dataset_id}: delete {folder}")
    return record


def check_fits(workspace: Place, manifest: Manifest, run: RunRecord) -> None:
    """Raise BadInput if a data set has another image size or other classes than the one a run was trained on."""
    own = load_dataset_of(workspace, run, load_dataset).manifest
    if (manifest.height, manifest.width, manifest.class_names) != (own.height, own.width, own.class_names):
        raise BadInput(
            f"{manifest.dataset_id} has images of {manifest.height} x {manifest.width} in {len(manifest.class_names)} "
            f"classes, and {run.run_id} was trained on {own.height} x {own.width} in {len(own.class_names)}, or on "
            "classes of other names: the two cannot be compared; `backbeam promote RUN --force` needs no comparison"
        )
