"""Groups of runs that differ only in their seeds: the table `seeds` and its record."""

import hashlib
from collections.abc import Sequence
from statistics import median
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from model.errors import BadUsage, CorruptArtefact
from model.recipes import shown
from pipeline.evaluate.evaluation_record import EvaluationRecord, SplitResult
from pipeline.storage.formats import VersionedRecord
from pipeline.storage.places import Place
from pipeline.storage.records import FileName, commit_file
from pipeline.storage.tables import SCHEMAS, TableFile, build_table, read_table, transpose, write_table
from pipeline.storage.workspace import table_partition
from pipeline.train.run_record import RunRecord

MOST_SEEDS = 1000


class GroupRecord(VersionedRecord):
    """The record of a group of runs that differ in their seeds; written after the table `seeds`."""

    format_version: Literal[1] = 1
    group_id: FileName
    recipe: str
    run_ids: tuple[FileName, ...] = Field(min_length=1)  # in the order of the seeds
    table: TableFile


def parse_seeds(text: str) -> tuple[int, ...]:
    """Parse at most MOST_SEEDS different seeds, such as 1-5 or 1,3,10-12; raises BadUsage."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not _is_seed(first) or (dash and not _is_seed(last)):
            raise BadUsage(
                f"--seeds takes numbers and ranges below 2^31, such as 1-5 or 1,3,10-12; found {shown(text)}"
            )
        numbers = range(int(first), int(last if dash else first) + 1)
        if not numbers or len(numbers) + len(seeds) > MOST_SEEDS:
            raise BadUsage(f"--seeds: {part} is an empty range, or there are more than {MOST_SEEDS} seeds")
        seeds.extend(numbers)
    if len(set(seeds)) < len(seeds):
        raise BadUsage(f"--seeds names a seed twice: {shown(text)}")
    return tuple(seeds)


def group_id(recipe: str, run_ids: Sequence[str]) -> str:
    """Return the id of a group, which depends on the ids of its runs and their order."""
    digest = hashlib.sha256("\n".join(run_ids).encode()).hexdigest()[:12]
    return f"{recipe}-{len(run_ids)}-seeds-{digest}"


def group_table(runs: Sequence[RunRecord], evaluations: Sequence[EvaluationRecord]) -> pa.Table:
    """Return the table `seeds` of a group of runs."""
    rows = _seed_rows(runs, evaluations)
    group = group_id(runs[0].config.recipe, [run.run_id for run in runs])
    models = hashlib.sha256("".join(run.parameters.sha256 for run in runs).encode()).hexdigest()
    return build_table(transpose(rows), SCHEMAS["seeds"], group, runs[0].dataset_digest, models)


def group_path(workspace: Place, group: str) -> Place:
    """Return the path of the record of a group of runs."""
    return workspace / "groups" / f"{group}.json"


def load_group(workspace: Place, group: str) -> GroupRecord:
    """Load the record of a group of runs; raises CorruptArtefact if it is corrupt or of another group."""
    path = group_path(workspace, group)
    record = GroupRecord.load(path)
    if record.group_id != group or group_id(record.recipe, record.run_ids) != group:
        raise CorruptArtefact(f"{path} is the record of {record.group_id}, expected {group}")
    return record


def write_seeds(
    workspace: Place, runs: Sequence[RunRecord], evaluations: Sequence[EvaluationRecord]
) -> list[dict[str, Any]]:
    """Write the table `seeds` of a group of runs, then its record, unless it exists; return the rows.

    Raises CorruptArtefact if an existing table or record differs.
    """
    table = group_table(runs, evaluations)
    recipe = runs[0].config.recipe
    run_ids = tuple(run.run_id for run in runs)
    group = group_id(recipe, run_ids)
    record = group_path(workspace, group)
    if record.exists():
        _check_table(load_group(workspace, group), workspace, table)
    else:
        file = write_table(workspace / table_partition("seeds", group) / "seeds.parquet", table)
        seeds_file = TableFile(table="seeds", **vars(file))
        content = GroupRecord(group_id=group, recipe=recipe, run_ids=run_ids, table=seeds_file)
        commit_file(record, content.to_json())
    return _seed_rows(runs, evaluations)


def _check_table(record: GroupRecord, workspace: Place, table: pa.Table) -> None:
    """Check that the file of a group's table is sound and equals a table; raises CorruptArtefact."""
    folder = record.table.folder(workspace, record.group_id)
    record.table.check(folder)
    if not read_table(folder / record.table.name).equals(table):
        raise CorruptArtefact(
            f"{folder / record.table.name} does not match the evaluations of its runs; delete "
            f"{group_path(workspace, record.group_id)} and run again"
        )


def _is_seed(text: str) -> bool:
    # the length first: Python refuses to convert thousands of digits
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < 2**31


def _seed_rows(runs: Sequence[RunRecord], evaluations: Sequence[EvaluationRecord]) -> list[dict[str, Any]]:
    """Return the rows of the table `seeds`, one for each split."""
    by_split = zip(*(evaluation.results for evaluation in evaluations), strict=True)
    return [_seed_row(runs, results) for results in by_split]


def _seed_row(runs: Sequence[RunRecord], results: Sequence[SplitResult]) -> dict[str, Any]:
    seeds = [run.config.seed for run in runs]
    accuracies = [result.accuracy for result in results]
    first = [result.first_1000_correct for result in results]
    return {
        "recipe": runs[0].config.recipe,
        "split": results[0].split,
        "seeds": seeds,
        "run_ids": [run.run_id for run in runs],
        "accuracies": accuracies,
        "accuracy_median": median(accuracies),
        "accuracy_lowest": min(accuracies),
        "accuracy_highest": max(accuracies),
        "first_1000_correct": first,
        "first_1000_median": float(median(first)),
        "never_predicted": [
            {"seed": seed, "class_name": name}
            for seed, result in zip(seeds, results, strict=True)
            for name in result.never_predicted
        ],
    }
