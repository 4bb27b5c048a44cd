"""Reproduce a run from its sources in a fresh workspace, and compare every artefact with the recorded one."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.checkpoint import decode_parameters
from pipeline.evaluate.evaluation_record import EVALUATION_NAME, EvaluationRecord, SplitResult, load_evaluation
from pipeline.evaluate.slice_config import Slicings
from pipeline.maintenance import rebuild
from pipeline.preprocess.dataset import Dataset, load_dataset
from pipeline.preprocess.manifest import MANIFEST_NAME, Manifest
from pipeline.storage.files import digest_of
from pipeline.storage.places import Place
from pipeline.storage.schemas import ORIGIN
from pipeline.storage.tables import TableFile, decode_table, encode_table
from pipeline.train.run_lookup import find_run_folder, load_dataset_of
from pipeline.train.run_record import RunRecord, compare_conditions, load_run

Verdict: TypeAlias = Literal["equal", "different"]
Tables: TypeAlias = RunRecord | EvaluationRecord

_TIMES = ("seconds",)  # columns that contain durations, which differ each time


@dataclass(frozen=True)
class ArtefactComparison:
    """Whether a recorded artefact equals the reproduced one; the detail says what was compared, or how they differ."""

    artefact: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True)
class ReproduceResult:
    """The result of reproducing a run."""

    run: RunRecord  # the original
    comparisons: tuple[ArtefactComparison, ...]  # one for each artefact
    conditions: dict[str, tuple[str, str]]  # (then, now) of each recorded condition that has changed, by name

    @property
    def is_equal(self) -> bool:
        """Whether every artefact is equal."""
        return all(comparison.verdict == "equal" for comparison in self.comparisons)


def reproduce_run(
    workspace: Place, wanted: str | None, sources: tuple[str, ...], fresh: Path, trusted: Slicings
) -> ReproduceResult:
    """Preprocess, train and evaluate a run again in a fresh workspace, and compare; the workspace is only read.

    The run is found as by `find_run_folder`. The sources are those that its data set's record names if none are given.
    Slicings that the evaluation's record names are imported only if they are trusted.

    Raises BadInput if a source is missing or has changed, BadUsage if there is no such run or it was evaluated by a
    slicing that is not trusted, and CorruptArtefact if a record, the parameters or a table does not verify.
    """
    run = load_run(find_run_folder(workspace, wanted))
    is_evaluated = (workspace / "runs" / run.run_id / EVALUATION_NAME).exists()
    evaluation = load_evaluation(workspace, run) if is_evaluated else None
    # before the stages, which take long, so that a slicing that is not trusted is refused at once
    slicings = rebuild.trusted_slicings(evaluation, trusted) if evaluation else {}
    old_dataset = load_dataset_of(workspace, run, load_dataset)
    new_dataset = rebuild.rebuild_dataset(workspace, run.dataset_id, fresh, sources)
    new_run = rebuild.rebuild_run(workspace, run, new_dataset, fresh)
    comparisons = [*_compare_datasets(old_dataset, new_dataset), _compare_parameters(workspace, run, fresh, new_run)]
    comparisons += _compare_early_parameters(run, new_run)
    comparisons += _compare_tables("training", workspace, run, fresh, new_run)
    if evaluation:
        new_evaluation = rebuild.reevaluate_run(fresh, new_run, new_dataset, slicings, fresh)
        comparisons += _compare_tables("evaluation", workspace, evaluation, fresh, new_evaluation)
        comparisons += _compare_figures(evaluation, new_evaluation)
    return ReproduceResult(run, tuple(comparisons), compare_conditions(run, new_run))


def _compare_datasets(old: Dataset, new: Dataset) -> Iterator[ArtefactComparison]:
    """Compare the digests that the manifests give for each file, and the manifests themselves, the last."""
    old_digests = _digests_by_name(old)
    new_digests = _digests_by_name(new)
    for name in sorted({*old_digests, *new_digests}):
        old_digest = old_digests.get(name, "not there")
        new_digest = new_digests.get(name, "not there")
        yield _compare_digests(name, old_digest, new_digest)
    yield _compare_manifests(old, new.manifest)


def _compare_digests(name: str, old: str, new: str) -> ArtefactComparison:
    return _compare(f"data set {name}", old == new, f"SHA-256 {old}", f"SHA-256 {old} then, {new} now")


def _compare_manifests(old: Dataset, new: Manifest) -> ArtefactComparison:
    """Compare manifests by what the old one records, except for conversions that are not counted any more."""
    old_digest = digest_of(old.manifest.to_json())  # not of the file, whose format may be an earlier one
    new_digest = digest_of(_with_fields_of(new, old.manifest).to_json())
    comparison = _compare_digests(MANIFEST_NAME, old_digest, new_digest)
    if comparison.verdict == "different" and _counts_fewer_conversions(new, old.manifest):
        then = old.manifest.style.conversions
        detail = f"counts of conversions left out: {then} then, {new.style.conversions} now; the rest is the same"
        return ArtefactComparison(comparison.artefact, "equal", detail)
    return comparison


def _counts_fewer_conversions(new: Manifest, old: Manifest) -> bool:
    """Return whether manifests differ in conversions alone, and the new one counts none more often.

    Earlier versions counted palettes of greys, and orientations that turn nothing.
    """
    conversions = old.style.conversions
    style = new.style.model_copy(update={"conversions": conversions})
    is_same = _with_fields_of(new.with_style(style), old) == old
    return is_same and Counter(new.style.conversions) <= Counter(conversions)


def _with_fields_of(new: Manifest, old: Manifest) -> Manifest:
    """Return the new manifest without what the old one does not record, as manifests of earlier versions do not."""
    missing = [name for name in ("pictures", "rejected_counts") if not getattr(old, name)]
    changes = {name: Manifest.model_fields[name].default for name in missing}
    return new.model_copy(update=changes | {"as_written": old.as_written})


def _digests_by_name(dataset: Dataset) -> dict[str, str]:
    manifest = dataset.manifest
    shards = (shard for split in manifest.splits.values() for shard in split.shards)
    digests = {f"{manifest.id_of(shard)}/{shard.name}": shard.sha256 for shard in shards}
    rejected = {manifest.rejected.name: manifest.rejected.sha256} if manifest.rejected else {}
    return digests | rejected


def _compare_parameters(workspace: Place, run: RunRecord, fresh: Path, new_run: RunRecord) -> ArtefactComparison:
    old = run.parameters.read(workspace / "runs" / run.run_id)
    new = new_run.parameters.read(fresh / "runs" / new_run.run_id)
    difference = rebuild.largest_difference(decode_parameters(old), decode_parameters(new))
    detail = (
        f"the largest absolute difference is {difference:.3g}" if difference else "the same numbers in another file"
    )
    return _compare("parameters", old == new, f"SHA-256 {run.parameters.sha256}", detail)


def _compare_early_parameters(run: RunRecord, new_run: RunRecord) -> Iterator[ArtefactComparison]:
    if run.early_parameters:
        old = run.early_parameters.sha256
        new = new_run.early_parameters.sha256 if new_run.early_parameters else "not there"
        yield _compare("early parameters", old == new, f"SHA-256 {old}", f"SHA-256 {old} then, {new} now")


def _compare_tables(kind: str, workspace: Place, old: Tables, fresh: Path, new: Tables) -> Iterator[ArtefactComparison]:
    """Compare the tables that the old record names; an earlier version may not have had all of today's."""
    old_files = {(file.table, file.name): file for file in old.tables}
    names = {file.table for file in old.tables}
    new_files = {(file.table, file.name): file for file in new.tables if file.table in names}
    for table, name in sorted({*old_files, *new_files}):
        old_file = old_files.get((table, name))
        new_file = new_files.get((table, name))
        artefact = f"{kind} table {table}/{name}"
        if old_file is None or new_file is None:
            yield ArtefactComparison(artefact, "different", f"not there {'then' if old_file is None else 'now'}")
        elif old_file.sha256 == new_file.sha256:
            yield ArtefactComparison(artefact, "equal", f"SHA-256 {old_file.sha256}")
        else:
            difference = _describe_difference(
                _read_comparable(old_file, workspace, old.run_id), _read_comparable(new_file, fresh, new.run_id)
            )
            yield _compare(artefact, not difference, "the same rows, times left out", difference)


def _read_comparable(file: TableFile, workspace: Place, run_id: str) -> pa.Table:
    """Read a verified table without durations, and without the columns of its origin, which contain digests."""
    folder = file.folder(workspace, run_id)
    table = decode_table(file.read(folder), str(folder / file.name))
    return table.drop_columns([name for name in table.column_names if name in (*ORIGIN, *_TIMES)])


def _describe_difference(old: pa.Table, new: pa.Table) -> str:
    """Name the columns in which two tables differ, with the largest difference of numeric ones; empty if none does."""
    if old.schema != new.schema or len(old) != len(new):
        return f"{len(old)} rows then, {len(new)} now, or other columns"
    # bit by bit; `pa.Table.equals` would say that NaN differs from NaN
    names = [name for name in old.column_names if encode_table(old.select([name])) != encode_table(new.select([name]))]
    return ", ".join(_describe_column(name, old.column(name), new.column(name)) for name in names)


def _describe_column(name: str, old: pa.ChunkedArray, new: pa.ChunkedArray) -> str:
    if pa.types.is_list(old.type):
        return _describe_column(name, pc.list_flatten(old), pc.list_flatten(new))
    if len(old) != len(new) or not (pa.types.is_integer(old.type) or pa.types.is_floating(old.type)):
        return name
    differences = np.abs(np.subtract(old.to_numpy().astype(float), new.to_numpy().astype(float)))
    return f"{name} by up to {np.nanmax(differences):.3g}"


def _compare_figures(old: EvaluationRecord, new: EvaluationRecord) -> Iterator[ArtefactComparison]:
    for old_result, new_result in zip(old.results, new.results, strict=True):
        old_text = _describe_figures(old_result)
        new_text = _describe_figures(new_result)
        yield _compare(
            f"figures of {old_result.split}", old_result == new_result, old_text, f"{old_text} then, {new_text} now"
        )


def _describe_figures(result: SplitResult) -> str:
    return f"{result.num_correct} of {result.num_examples} right, loss {result.loss:.6g}"


def _compare(artefact: str, is_equal: bool, if_equal: str, if_different: str) -> ArtefactComparison:
    if is_equal:
        return ArtefactComparison(artefact, "equal", if_equal)
    return ArtefactComparison(artefact, "different", if_different)
