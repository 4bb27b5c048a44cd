"""Promote a run, and roll back to an earlier champion. Each appends an entry to the history."""

from typing import cast

from model.errors import BadInput, BadUsage
from pipeline.context import StageContext
from pipeline.evaluate.evaluation_record import EVALUATION_NAME, load_evaluation
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.manifest import MANIFEST_NAME
from pipeline.preprocess.validation_config import check_validation, is_validated
from pipeline.progress import say
from pipeline.registry.challenge import TestAnswers, check_fits, load_answers
from pipeline.registry.decision import Contestant, Decision, DecisionInputs, decide
from pipeline.registry.history import (
    Champion,
    Entry,
    History,
    append_entry,
    next_champion,
    open_history,
    rank_champions,
    resolve_run,
)
from pipeline.registry.policy import BEST, NONE, Policy
from pipeline.storage.places import Place
from pipeline.train.run_lookup import find_run, find_run_folder
from pipeline.train.run_record import RUN_NAME, RunRecord, check_run, load_run


def promote(settings: StageContext, name: str | None, policy: Policy, force: bool, why: str) -> Entry:
    """Make a run the champion if it meets the policy on the test split of its data set.

    Args:
        settings: of every stage; the process must hold the lock of the workspace.
        name: the run's id or a prefix; None for the only run.
        policy: that the run must meet.
        force: promote the run without a test; the entry says so.
        why: the user's reason.

    Returns:
        the new entry, whose outcome is promoted or kept. If the run is the champion already, the entry that made it
        so: a command that was killed can be repeated.

    Raises:
        BadInput: the run cannot be compared with the champion.
        BadUsage: the name matches no run or several.
        CorruptArtefact: a file does not match its record.
    """
    history = open_history(settings.workspace)
    run, data = find_run(settings.workspace, name)
    if history.champion and history.champion.run_id == run.run_id:
        return _current_entry(history, history.champion)
    if force:
        return _promote_by_force(settings.workspace, history, run, why)
    objections = find_data_faults(settings.workspace, data)
    decision = make_decision(settings, history, data, run, policy, objections)
    return append_decision(settings.workspace, history, data, run, decision, action="promote", policy=policy, why=why)


def _promote_by_force(workspace: Place, history: History, run: RunRecord, why: str) -> Entry:
    counts: dict[str, object] = {}
    if (workspace / "runs" / run.run_id / EVALUATION_NAME).exists():
        test = load_evaluation(workspace, run).test_result()
        counts = {"num_examples": test.num_examples, "num_correct": {run.run_id: test.num_correct}}
    return append_entry(
        workspace,
        history,
        action="promote",
        outcome="promoted",
        forced=True,
        run_id=run.run_id,
        dataset_id=run.dataset_id,
        dataset_digest=run.dataset_digest,
        reasons=("it was promoted by force: nothing was asked of it",),
        champion=next_champion(history, run),
        why=why,
        **counts,
    )


def _current_entry(history: History, champion: Champion) -> Entry:
    say(f"{champion.run_id} is the champion already, version {champion.version}")
    return history[champion.entry - 1]


def rollback(workspace: Place, version: int | None, why: str) -> Entry:
    """Make an earlier champion the champion again.

    Args:
        workspace: that has the registry; the process must hold its lock.
        version: of the champion; None for the previous one.
        why: the user's reason.

    Raises:
        BadUsage: the version does not exist, or there is no previous champion.
        CorruptArtefact: the run's files do not match its record.
    """
    history = open_history(workspace)
    current = history.champion
    if current is None:
        raise BadUsage(f"{workspace} has no champion yet, so there is nothing to roll back")
    if current.version == version:
        return _current_entry(history, current)
    target = _find_version(history, version)
    run = check_run(workspace, find_run_folder(workspace, target.run_id))
    return append_entry(
        workspace,
        history,
        action="rollback",
        outcome="promoted",
        run_id=run.run_id,
        dataset_id=run.dataset_id,
        dataset_digest=run.dataset_digest,
        reasons=(f"version {current.version}, {current.run_id}, went back to version {target.version}",),
        champion=next_champion(history, run, target.version),
        why=why,
    )


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


def make_decision(
    settings: StageContext, history: History, data: Dataset, run: RunRecord, policy: Policy, objections: tuple[str, ...]
) -> Decision:
    """Decide by the answers of a challenger, the champion and the reference to the test split of a data set.

    Raises:
        BadInput: the data set has another image size or other classes than one of their own.
        BadUsage: the policy names a reference that does not exist.
        CorruptArtefact: a file does not match its record.
    """
    answers = load_answers(settings, data, run)
    champion = history.champion.run_id if history.champion else None
    reference = find_reference(settings.workspace, history, data, policy)
    inputs = DecisionInputs(
        answers.labels,
        data.manifest.class_names,
        Contestant(run.run_id, answers.predicted),
        _load_contestant(settings, data, champion, answers),
        _load_contestant(settings, data, reference, answers) if reference not in (champion, run.run_id) else None,
        objections,
    )
    return decide(inputs, policy)


def find_reference(workspace: Place, history: History, data: Dataset, policy: Policy) -> str | None:
    """Return the id of the policy's reference, a run to compare with besides the champion; None for none.

    "best" is the run of the highest accuracy that still exists and whose image size and classes are the data set's.

    Raises:
        BadInput: the run that the policy names has another image size or other classes.
        BadUsage: that run does not exist.
        CorruptArtefact: that run is corrupt.
    """
    if policy.reference == NONE:
        return None
    if policy.reference == BEST:
        ranked = rank_champions(history)
        return next((champion.run_id for champion in ranked if _can_answer(workspace, data, champion)), None)
    try:
        folder = find_run_folder(workspace, resolve_run(workspace, policy.reference))
    except BadUsage as problem:
        raise BadUsage(f"[promotion] reference: {problem}") from None
    check_fits(workspace, data.manifest, check_run(workspace, folder))
    return folder.name


def _can_answer(workspace: Place, data: Dataset, champion: Champion) -> bool:
    """Return whether a former champion still exists and fits a data set."""
    if not (workspace / champion.folder / RUN_NAME).exists():
        return False
    if not (workspace / "datasets" / champion.dataset_id / MANIFEST_NAME).exists():
        return False
    try:
        check_fits(workspace, data.manifest, load_run(workspace / champion.folder))
    except BadInput:
        return False
    return True


def _load_contestant(
    settings: StageContext, data: Dataset, run_id: str | None, challenger: TestAnswers
) -> Contestant | None:
    if run_id is None:
        return None
    run = check_run(settings.workspace, find_run_folder(settings.workspace, run_id))
    answers = load_answers(settings, data, run)
    challenger.check_same_examples(answers)
    return Contestant(run_id, answers.predicted)


def find_data_faults(workspace: Place, data: Dataset) -> tuple[str, ...]:
    """Return objections to a data set: it is not validated, or its failed checks of severity error."""
    if not is_validated(data.folder):
        return (f"{data.manifest.dataset_id} is not validated: backbeam validate {data.manifest.dataset_id}",)
    record = check_validation(workspace, data.manifest.dataset_id, data.digest)
    return tuple(result.describe() for result in record.with_outcome("error"))


def append_decision(
    workspace: Place, history: History, data: Dataset, run: RunRecord, decision: Decision, **fields: object
) -> Entry:
    """Append the entry of a decision; `fields` are further ones of `Entry`."""
    return append_entry(
        workspace,
        history,
        outcome="promoted" if decision.promote else "kept",
        run_id=run.run_id,
        dataset_id=data.manifest.dataset_id,
        dataset_digest=data.digest,
        num_examples=decision.num_examples,
        num_correct=decision.num_correct,
        findings=decision.findings,
        reasons=decision.reasons,
        champion=next_champion(history, run) if decision.promote else history.champion,
        **fields,
    )
