"""Several seeds of one configuration: their median, the worst and the best, and what a run never learnt."""

import hashlib
from collections.abc import Sequence
from statistics import median
from typing import Any

import pyarrow as pa

from model.errors import BadUsage, CorruptArtefact
from pipeline.places import Place
from pipeline.runs import EvaluationRecord, RunRecord, SplitResult
from pipeline.tables.files import SCHEMAS, origin_columns, partition, read_table, write_table

MOST_SEEDS = 1000


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read seeds such as 1-5 or 1,3,10-12.

    Raises:
        BadUsage: it is something else, names a seed twice, or more than MOST_SEEDS.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not _is_seed(first) or (dash and not _is_seed(last)):
            raise BadUsage(f"--seeds takes numbers and ranges below 2^31, such as 1-5 or 1,3,10-12; found {text!r}")
        numbers = range(int(first), int(last if dash else first) + 1)
        if not numbers or len(numbers) + len(seeds) > MOST_SEEDS:
            raise BadUsage(f"--seeds: {part} is an empty range, or there are more than {MOST_SEEDS} seeds")
        seeds.extend(numbers)
    if len(set(seeds)) < len(seeds):
        raise BadUsage(f"--seeds names a seed twice: {text}")
    return tuple(seeds)


def group_id(runs: Sequence[RunRecord]) -> str:
    """Name a group of runs that differ in their seeds, by the runs."""
    digest = hashlib.sha256("\n".join(run.run_id for run in runs).encode()).hexdigest()[:12]
    return f"{runs[0].config.recipe}-{len(runs)}-seeds-{digest}"


def summarise(runs: Sequence[RunRecord], evaluations: Sequence[EvaluationRecord]) -> list[dict[str, Any]]:
    """Return the rows of the table `seeds`, one a split: accuracies and right answers over the seeds."""
    splits = [result.split for result in evaluations[0].results]
    return [_row(runs, [_result(evaluation, split) for evaluation in evaluations]) for split in splits]


def write_seeds(
    workspace: Place, runs: Sequence[RunRecord], evaluations: Sequence[EvaluationRecord]
) -> list[dict[str, Any]]:
    """Write the table `seeds` of a group of runs, unless it is there, and return its rows.

    Raises:
        CorruptArtefact: it is there and says something else.
    """
    rows, name = summarise(runs, evaluations), group_id(runs)
    models = hashlib.sha256("".join(run.parameters.sha256 for run in runs).encode()).hexdigest()
    origin = origin_columns(len(rows), name, runs[0].dataset_digest, models)
    columns = {column: [row[column] for row in rows] for column in rows[0]}
    table = pa.table(origin | columns, schema=SCHEMAS["seeds"])
    path = workspace / partition("seeds", name) / "seeds.parquet"
    if not path.exists():
        write_table(path, table)
    elif not read_table(path).equals(table):
        raise CorruptArtefact(f"{path} does not say what the evaluations of its runs say; delete it and run again")
    return rows


def _is_seed(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < 2**31


def _result(evaluation: EvaluationRecord, split: str) -> SplitResult:
    return next(result for result in evaluation.results if result.split == split)


def _row(runs: Sequence[RunRecord], results: Sequence[SplitResult]) -> dict[str, Any]:
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
