"""A run made again from its sources in a fresh place, and compared artefact by artefact with what it was."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa

from model.checkpoint import decode_parameters
from pipeline.evaluate.records import EVALUATION_NAME, EvaluationRecord, load_evaluation
from pipeline.evaluate.slice_config import Slicings
from pipeline.maintenance.rebuild import (
    device_of,
    largest_difference,
    rebuild_dataset,
    repeat_evaluation,
    retrain_run,
    slicings_of,
)
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.manifest import Manifest, load_manifest
from pipeline.preprocess.provenance import load_origin
from pipeline.preprocess.stage import config_from_origin
from pipeline.storage.places import Place
from pipeline.storage.schemas import ORIGIN
from pipeline.storage.tables import TableFile, decode_table, encode_table
from pipeline.storage.workspace import default_cache
from pipeline.train.environment import compare_conditions
from pipeline.train.run_lookup import find_run_folder, load_dataset_of
from pipeline.train.run_record import RunRecord, load_run

Verdict: TypeAlias = Literal["equal", "different"]

_TIMES = ("seconds",)  # columns that say how long something took


@dataclass(frozen=True)
class ArtefactComparison:
    """An artefact of a run beside the one that was made again.

    Attributes:
        artefact: what it is.
        verdict: of the two.
        detail: by how much they differ, or what was compared.
    """

    artefact: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True)
class ReproduceResult:
    """What came of making a run again.

    Attributes:
        run: as it was recorded.
        comparisons: of every artefact.
        conditions: every recorded condition that is another now, with its value then and now.
    """

    run: RunRecord
    comparisons: tuple[ArtefactComparison, ...]
    conditions: dict[str, tuple[str, str]]

    @property
    def is_equal(self) -> bool:
        """Whether every artefact came out as it was."""
        return all(each.verdict == "equal" for each in self.comparisons)


def reproduce_run(
    workspace: Place, wanted: str | None, sources: tuple[str, ...], fresh: Path, trusted: Slicings
) -> ReproduceResult:
    """Preprocess, train and evaluate again, and compare; the workspace is only read.

    Args:
        workspace: that holds the run.
        wanted: its id, or a beginning; None for the only one.
        sources: where its data set's sources are now; where they were, if empty.
        fresh: an empty workspace.
        trusted: slicings that may be used if the run was evaluated by them.

    Raises:
        BadInput: a source is gone or no longer what it was.
        BadUsage: there is no such run, or it was evaluated by a slicing that is not trusted.
        CorruptArtefact: a record, the parameters or a table is not sound.
    """
    run = load_run(find_run_folder(workspace, wanted))
    evaluated = (workspace / "runs" / run.run_id / EVALUATION_NAME).exists()
    evaluation = load_evaluation(workspace, run) if evaluated else None
    slicings = slicings_of(evaluation, trusted) if evaluation else {}
    old = load_dataset_of(workspace, run, load_manifest)
    new = _remake_dataset(workspace, run, sources, fresh)
    again = retrain_run(workspace, run.config, device_of(run), new, fresh)
    found = [*_compare_datasets(old, new), *_compare_models(workspace, run, fresh, again)]
    found += _compare_tables("training", workspace, run, fresh, again)
    if evaluation:
        other = repeat_evaluation(again, fresh / "runs" / again.run_id, new, slicings, fresh)
        found += _compare_tables("evaluation", workspace, evaluation, fresh, other)
        found += _compare_figures(evaluation, other)
    return ReproduceResult(run, tuple(found), compare_conditions(run, again))


def _remake_dataset(workspace: Place, run: RunRecord, sources: tuple[str, ...], fresh: Path) -> Dataset:
    origin = load_origin(workspace, run.dataset_id)
    options = config_from_origin(origin, default_cache())
    return rebuild_dataset(origin, fresh, replace(options, datasets=sources) if sources else options)


def _compare_datasets(old: Dataset, new: Dataset) -> Iterator[ArtefactComparison]:
    """Compare shards by the digests of their manifests, whose own are part of the runs' identities."""
    before, after = _files(old.manifest), _files(new.manifest)
    for name in sorted({*before, *after}):
        one, other = before.get(name, "not there"), after.get(name, "not there")
        yield _compare(f"data set {name}", one == other, f"SHA-256 {one}", f"SHA-256 {one} then, {other} now")
    digests = f"SHA-256 {old.digest}", f"SHA-256 {old.digest} then, {new.digest} now"
    yield _compare("data set manifest.json", old.digest == new.digest, *digests)


def _files(manifest: Manifest) -> dict[str, str]:
    shards = (shard for split in manifest.splits.values() for shard in split.shards)
    named = {f"{manifest.id_of(shard)}/{shard.name}": shard.sha256 for shard in shards}
    rejected = {manifest.rejected.name: manifest.rejected.sha256} if manifest.rejected else {}
    return named | rejected


def _compare_models(workspace: Place, run: RunRecord, fresh: Path, again: RunRecord) -> Iterator[ArtefactComparison]:
    old = run.parameters.read(workspace / "runs" / run.run_id)
    new = again.parameters.read(fresh / "runs" / again.run_id)
    far = largest_difference(decode_parameters(old), decode_parameters(new))
    about = f"the largest absolute difference is {far:.3g}" if far else "the same numbers in another file"
    yield _compare("parameters", old == new, f"SHA-256 {run.parameters.sha256}", about)


Tables: TypeAlias = RunRecord | EvaluationRecord


def _compare_tables(kind: str, workspace: Place, old: Tables, fresh: Path, new: Tables) -> Iterator[ArtefactComparison]:
    before, after = ({(file.table, file.name): file for file in record.tables} for record in (old, new))
    for table, name in sorted({*before, *after}):
        one, other = before.get((table, name)), after.get((table, name))
        what = f"{kind} table {table}/{name}"
        if one is None or other is None:
            yield ArtefactComparison(what, "different", f"not there {'then' if one is None else 'now'}")
        elif one.sha256 == other.sha256:
            yield ArtefactComparison(what, "equal", f"SHA-256 {one.sha256}")
        else:
            rows = _read(one, workspace, old.run_id), _read(other, fresh, new.run_id)
            yield _compare(what, _same(*rows), "the same rows, times left out", _describe(*rows))


def _read(file: TableFile, workspace: Place, run_id: str) -> pa.Table:
    """Read a table that is as recorded, without its origin, which other parameters change, and without times."""
    folder = file.folder(workspace, run_id)
    table = decode_table(file.read(folder), str(folder / file.name))
    return table.drop_columns([name for name in table.column_names if name in (*ORIGIN, *_TIMES)])


def _same(one: pa.Table, other: pa.Table) -> bool:
    """Tell whether two tables have the same values bit by bit; for Arrow no NaN is like another."""
    return encode_table(one) == encode_table(other)


def _describe(one: pa.Table, other: pa.Table) -> str:
    """Say in which columns two tables differ, and by how much where they are of numbers."""
    if one.schema != other.schema or len(one) != len(other):
        return f"{len(one)} rows then, {len(other)} now, or other columns"
    differing_columns = [name for name in one.column_names if not _same(one.select([name]), other.select([name]))]
    return ", ".join(_how_far(name, one.column(name), other.column(name)) for name in differing_columns)


def _how_far(name: str, one: pa.ChunkedArray, other: pa.ChunkedArray) -> str:
    if not (pa.types.is_integer(one.type) or pa.types.is_floating(one.type)):
        return name
    far = np.abs(np.subtract(one.to_numpy().astype(float), other.to_numpy().astype(float)))
    return f"{name} by up to {np.nanmax(far):.3g}"


def _compare_figures(old: EvaluationRecord, new: EvaluationRecord) -> Iterator[ArtefactComparison]:
    for one, other in zip(old.results, new.results, strict=True):
        figures = [f"{each.num_correct} of {each.num_examples} right, loss {each.loss:.6g}" for each in (one, other)]
        yield _compare(f"figures of {one.split}", one == other, figures[0], f"{figures[0]} then, {figures[1]} now")


def _compare(what: str, equal: bool, same: str, different: str) -> ArtefactComparison:
    return ArtefactComparison(what, "equal", same) if equal else ArtefactComparison(what, "different", different)
