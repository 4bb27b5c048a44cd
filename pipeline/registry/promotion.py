"""Changes of the champion by hand: promote a run, roll back to an earlier version. Each is an entry of the history."""

from typing import cast

from model.errors import BadInput, BadUsage
from pipeline.context import StageContext
from pipeline.evaluate.records import EVALUATION_NAME, load_evaluation
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
    append,
    best_first,
    open_history,
    resolve_run,
    write_champion,
)
from pipeline.registry.policy import BEST, NONE, Policy
from pipeline.storage.places import Place
from pipeline.train.run_lookup import find_run, find_run_folder
from pipeline.train.run_record import RUN_NAME, RunRecord, check_run, load_run


def promote(settings: StageContext, wanted: str | None, policy: Policy, force: bool, why: str) -> Entry:
    """Make a run the champion if it passes the policy on the test split of its data set, or in any case.

    Args:
        settings: of every stage; the workspace is this process's alone.
        wanted: the run's id, or a beginning; None for the only one.
        policy: what it takes.
        force: whether to promote it whatever the policy says; the entry is marked.
        why: the user's reason.

    Returns:
        the entry; its outcome says whether the run was promoted. Of the champion, the entry that made it that: who
        was broken off can do it again.

    Raises:
        BadInput: it cannot be compared with the champion.
        BadUsage: there is no such run.
        CorruptArtefact: a file is not what its record says.
    """
    history = open_history(settings.workspace)
    run, data = find_run(settings.workspace, wanted)
    if history.champion and history.champion.run_id == run.run_id:
        return _as_it_is(history, history.champion)
    if force:
        return _force(settings.workspace, history, run, why)
    decision = decide_and_record(settings, history, data, run, policy, data_faults(settings.workspace, data))
    return append_entry(settings.workspace, history, data, run, decision, action="promote", policy=policy, why=why)


def _force(workspace: Place, history: History, run: RunRecord, why: str) -> Entry:
    counts: dict[str, object] = {}
    if (workspace / "runs" / run.run_id / EVALUATION_NAME).exists():
        test = load_evaluation(workspace, run).test_result()
        counts = {"num_examples": test.num_examples, "num_correct": {run.run_id: test.num_correct}}
    return append(
        workspace,
        history,
        action="promote",
        outcome="promoted",
        forced=True,
        run_id=run.run_id,
        dataset_id=run.dataset_id,
        dataset_digest=run.dataset_digest,
        reasons=("it was promoted by force: nothing was asked of it",),
        champion=write_champion(history, run),
        why=why,
        **counts,
    )


def _as_it_is(history: History, champion: Champion) -> Entry:
    say(f"{champion.run_id} is the champion already, version {champion.version}")
    return history[champion.entry - 1]


def rollback(workspace: Place, version: int | None, why: str) -> Entry:
    """Make an earlier champion the champion again.

    Args:
        workspace: whose registry it is, this process's alone.
        version: of the champion; None for the one before.
        why: the user's reason.

    Raises:
        BadUsage: there is no such version, or none before the champion.
        CorruptArtefact: the run's files are not what its record says.
    """
    history = open_history(workspace)
    current = history.champion
    if current is None:
        raise BadUsage(f"{workspace} has no champion yet, so there is nothing to roll back")
    if current.version == version:
        return _as_it_is(history, current)
    target = _find_version(history, version)
    run = check_run(workspace, find_run_folder(workspace, target.run_id))
    return append(
        workspace,
        history,
        action="rollback",
        outcome="promoted",
        run_id=run.run_id,
        dataset_id=run.dataset_id,
        dataset_digest=run.dataset_digest,
        reasons=(f"version {current.version}, {current.run_id}, went back to version {target.version}",),
        champion=write_champion(history, run, target.version),
        why=why,
    )


def _find_version(history: History, version: int | None) -> Champion:
    line, versions = history.line(), history.versions()
    if version is None:
        if len(line) < 2:
            raise BadUsage(f"{line[-1].run_id} is the first champion: there is none before it")
        return line[-2]
    if version not in versions:
        raise BadUsage(f"there is no version {version}; there are: {', '.join(map(str, versions))}")
    found = versions[version].champion
    return cast("Champion", found)  # a promotion names one


def decide_and_record(
    settings: StageContext, history: History, data: Dataset, run: RunRecord, policy: Policy, objections: tuple[str, ...]
) -> Decision:
    """Have a challenger, the champion and the reference answer the test split of a data set, and decide.

    Raises:
        BadInput: one of them does not fit the data set.
        BadUsage: the policy names a reference that is not there.
        CorruptArtefact: a file is not what its record says.
    """
    own = load_answers(settings, data, run)
    champion = history.champion.run_id if history.champion else None
    reference = find_reference(settings.workspace, history, data, policy)
    examination = DecisionInputs(
        own.labels,
        data.manifest.class_names,
        Contestant(run.run_id, own.predicted),
        _contestant(settings, data, champion, own),
        _contestant(settings, data, reference, own) if reference not in (champion, run.run_id) else None,
        objections,
    )
    return decide(examination, policy)


def find_reference(workspace: Place, history: History, data: Dataset, policy: Policy) -> str | None:
    """Return the run that the policy compares with besides the champion.

    The best is the first, by accuracy, that is still there and can answer the data set.

    Raises:
        BadInput: the run that the policy names cannot answer the data set.
        BadUsage: it is not there.
        CorruptArtefact: it is not sound.
    """
    if policy.reference == NONE:
        return None
    if policy.reference == BEST:
        return next((each.run_id for each in best_first(history) if _can_answer(workspace, data, each)), None)
    try:
        folder = find_run_folder(workspace, resolve_run(workspace, policy.reference))
    except BadUsage as problem:
        raise BadUsage(f"[promotion] reference: {problem}") from None
    check_fits(workspace, data.manifest, check_run(workspace, folder))
    return folder.name


def _can_answer(workspace: Place, data: Dataset, promoted: Champion) -> bool:
    if not (workspace / promoted.folder / RUN_NAME).exists():
        return False
    if not (workspace / "datasets" / promoted.dataset_id / MANIFEST_NAME).exists():
        return False
    try:
        check_fits(workspace, data.manifest, load_run(workspace / promoted.folder))
    except BadInput:
        return False
    return True


def _contestant(
    settings: StageContext, data: Dataset, run_id: str | None, challenger: TestAnswers
) -> Contestant | None:
    if run_id is None:
        return None
    run = check_run(settings.workspace, find_run_folder(settings.workspace, run_id))
    answers = load_answers(settings, data, run)
    challenger.check_same(answers)
    return Contestant(run_id, answers.predicted)


def data_faults(workspace: Place, data: Dataset) -> tuple[str, ...]:
    """Say what speaks against a data set: it is not validated, or checks of severity error failed."""
    if not is_validated(data.folder):
        return (f"{data.manifest.dataset_id} is not validated: backbeam validate {data.manifest.dataset_id}",)
    record = check_validation(workspace, data.manifest.dataset_id, data.digest)
    return tuple(result.describe() for result in record.with_outcome("error"))


def append_entry(
    workspace: Place, history: History, data: Dataset, run: RunRecord, decision: Decision, **about: object
) -> Entry:
    """Add the entry of a decision."""
    return append(
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
        champion=write_champion(history, run) if decision.promote else history.champion,
        **about,
    )
