"""Promote a run, and roll back to an earlier champion. Each appends an entry to the history."""

from functools import partial
from typing import Any, cast

from model.errors import BadInput, BadUsage, CorruptArtefact
from pipeline.context import StageContext
from pipeline.evaluate.evaluation_record import EVALUATION_NAME, load_evaluation
from pipeline.evaluate.table_reader import KEYS
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.manifest import MANIFEST_NAME
from pipeline.preprocess.scan_runner import check_by_workers
from pipeline.preprocess.validation_config import find_validation
from pipeline.progress import show_message
from pipeline.registry.decision import Decision, DecisionInputs, RunAnswers, decide
from pipeline.registry.history import (
    Champion,
    Entry,
    History,
    append_entry,
    load_history_and_repair_pointer,
    next_champion,
    rank_champions,
    resolve_champion,
)
from pipeline.registry.policy import BEST, NONE, Policy
from pipeline.registry.stored_answers import check_fits, load_answers
from pipeline.storage.places import Place
from pipeline.train.run_lookup import find_run, find_run_folder
from pipeline.train.run_record import RUN_NAME, RunRecord, check_run, load_run


def promote(context: StageContext, name: str | None, policy: Policy, force: bool, why: str) -> Entry:
    """Make a run the champion if it meets the policy on the test split of its data set, and return the new entry.

    The process must hold the lock of the workspace. With `force` the run is not tested, and the entry says so. If the
    run is the champion already, return the entry that made it so: a command that was killed can be repeated.

    Raises BadInput if the run cannot be compared with the champion, BadUsage if the name matches no run or several, and
    CorruptArtefact if a file does not match its record.
    """
    history = load_history_and_repair_pointer(context.workspace)
    run, data = find_run(context.workspace, name, partial(check_by_workers, context))
    if history.champion and history.champion.run_id == run.run_id:
        return _current_entry(history, history.champion)
    if force:
        return _promote_by_force(context.workspace, history, run, why)
    return append_decision(context, history, data, run, policy, action="promote", why=why)


def _promote_by_force(workspace: Place, history: History, run: RunRecord, why: str) -> Entry:
    counts: dict[str, Any] = {}
    if (workspace / "runs" / run.run_id / EVALUATION_NAME).exists():
        test = load_evaluation(workspace, run).test_result()
        counts = {"num_examples": test.num_examples, "num_correct": {run.run_id: test.num_correct}}
    reason = "it was promoted by force: nothing was asked of it"
    return _append_promotion(workspace, history, run, reason, action="promote", forced=True, why=why, **counts)


def _append_promotion(
    workspace: Place, history: History, run: RunRecord, reason: str, version: int | None = None, **fields: Any
) -> Entry:
    """Append the entry that makes a run the champion without a decision; see `next_champion`."""
    return append_entry(
        workspace,
        history,
        next_champion(history, run, version),
        run_id=run.run_id,
        dataset_id=run.dataset_id,
        dataset_digest=run.dataset_digest,
        reasons=(reason,),
        **fields,
    )


def _current_entry(history: History, champion: Champion) -> Entry:
    show_message(f"{champion.run_id} is the champion already, version {champion.version}")
    return history[champion.entry - 1]


def rollback(workspace: Place, version: int | None, why: str) -> Entry:
    """Make an earlier champion the champion again: a version, or None for the previous one.

    The process must hold the lock of the workspace. Raises BadUsage if there is no such champion, and CorruptArtefact
    if the run's files do not match its record.
    """
    history = load_history_and_repair_pointer(workspace)
    current = history.champion
    if current is None:
        raise BadUsage(f"{workspace} has no champion yet, so there is nothing to roll back")
    if current.version == version:
        return _current_entry(history, current)
    target = _find_version(history, version)
    if (
        history.deletions().get(f"runs/{target.run_id}", 0) > target.entry
        and not (workspace / target.folder / RUN_NAME).exists()
    ):
        raise BadUsage(f"version {target.version}, {target.run_id}, was deleted: `backbeam history` says when")
    run = check_run(workspace, find_run_folder(workspace, target.run_id))
    reason = f"version {current.version}, {current.run_id}, went back to version {target.version}"
    return _append_promotion(workspace, history, run, reason, target.version, action="rollback", why=why)


def _find_version(history: History, version: int | None) -> Champion:
    if version is None:
        lineage = history.lineage()
        if len(lineage) < 2:
            raise BadUsage(f"{lineage[-1].run_id} is the first champion: there is none before it")
        return lineage[-2]
    versions = history.versions()
    if version not in versions:
        raise BadUsage(f"there is no version {version}; there are: {', '.join(map(str, versions))}")
    return cast("Champion", versions[version].champion)  # every entry that promotes has one


def append_decision(
    context: StageContext,
    history: History,
    data: Dataset,
    run: RunRecord,
    policy: Policy,
    objections: tuple[str, ...] = (),
    **fields: Any,
) -> Entry:
    """Decide about a challenger and append the entry of the decision; raises as `find_reference` and `load_answers`."""
    objections = (*find_data_faults(context.workspace, data), *objections)
    decision = _decide(context, history, data, run, policy, objections)
    return append_entry_about(
        context.workspace,
        history,
        data,
        policy,
        promoted=next_champion(history, run) if decision.promote else None,
        run_id=run.run_id,
        num_examples=decision.num_examples,
        num_correct=decision.num_correct,
        findings=decision.findings,
        reasons=decision.reasons,
        **fields,
    )


def append_entry_about(workspace: Place, history: History, data: Dataset, policy: Policy, **fields: Any) -> Entry:
    """Append an entry about a data set whose other fields are given; raises as `append_entry`."""
    about: dict[str, Any] = {"dataset_id": data.manifest.dataset_id, "dataset_digest": data.digest, "policy": policy}
    return append_entry(workspace, history, **about, **fields)


def _decide(
    context: StageContext, history: History, data: Dataset, run: RunRecord, policy: Policy, objections: tuple[str, ...]
) -> Decision:
    """Decide by the answers of a challenger, the champion and the reference to the test split of a data set."""
    answers = load_answers(context, data, run)
    champion = history.champion.run_id if history.champion else None
    reference = find_reference(context.workspace, history, data, policy)

    def load_opponent(run_id: str | None) -> RunAnswers | None:
        if run_id is None:
            return None
        opponent = check_run(context.workspace, find_run_folder(context.workspace, run_id))
        rows = load_answers(context, data, opponent)
        columns = [*KEYS, "label"]
        if not rows.select(columns).equals(answers.select(columns)):
            raise CorruptArtefact(f"{run.run_id} and {run_id} did not answer the same examples of one data set")
        return RunAnswers(run_id, rows["predicted"].to_numpy())

    inputs = DecisionInputs(
        answers["label"].to_numpy(),
        data.manifest.class_names,
        RunAnswers(run.run_id, answers["predicted"].to_numpy()),
        load_opponent(champion),
        load_opponent(reference) if reference not in (champion, run.run_id) else None,
        objections,
    )
    return decide(inputs, policy)


def find_reference(workspace: Place, history: History, data: Dataset, policy: Policy) -> str | None:
    """Return the id of the policy's reference, a run to compare with besides the champion; None for none.

    "best" is the run of the highest accuracy that still exists and whose image size and classes are the data set's.
    Raises BadUsage if the run that the policy names does not exist, CorruptArtefact if it is corrupt, and BadInput if
    it has another image size or other classes.
    """
    if policy.reference == NONE:
        return None
    if policy.reference == BEST:
        ranked = rank_champions(history)
        return next((champion.run_id for champion in ranked if _can_answer(workspace, data, champion)), None)
    try:
        folder = find_run_folder(workspace, resolve_champion(workspace, policy.reference))
    except BadUsage as problem:
        raise BadUsage(f"[promotion] reference: {problem}") from None
    check_fits(workspace, data.manifest, check_run(workspace, folder))
    return folder.name


def _can_answer(workspace: Place, data: Dataset, champion: Champion) -> bool:
    """Return whether a former champion and its data set still exist, and it fits a data set."""
    files = (f"{champion.folder}/{RUN_NAME}", f"datasets/{champion.dataset_id}/{MANIFEST_NAME}")
    if not all((workspace / name).exists() for name in files):
        return False
    try:
        check_fits(workspace, data.manifest, load_run(workspace / champion.folder))
    except BadInput:
        return False
    return True


def find_data_faults(workspace: Place, data: Dataset) -> tuple[str, ...]:
    """Return objections to a data set: it is not validated, or its failed checks of severity error."""
    record = find_validation(workspace, data)
    if record is None:
        return (f"{data.manifest.dataset_id} is not validated: backbeam validate {data.manifest.dataset_id}",)
    return tuple(result.describe() for result in record.with_outcome("error"))
