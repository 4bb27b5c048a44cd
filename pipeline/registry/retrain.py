"""Retraining: whatever changed is preprocessed, validated, trained and evaluated, and the champion keeps or yields.

Each stage skips what is complete, so a retraining that was broken off goes on where it was. The decision is an entry
of the registry's history; what was decided before about the same data, configuration and policy is not decided again.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from model.errors import BadInput
from model.random_streams import STREAMS_VERSION
from model.recipes import TrainingConfig, WarmStart
from pipeline.context import StageContext, StageLog
from pipeline.evaluate.stage import evaluate_stage
from pipeline.preprocess.dataset import Dataset, find_baseline
from pipeline.preprocess.manifest import load_manifest
from pipeline.preprocess.stage import DatasetConfig, preprocess_stage, validate_stage
from pipeline.preprocess.validation_config import CheckSettings, check_validation, is_validated
from pipeline.progress import say
from pipeline.registry.challenge import check_fits
from pipeline.registry.history import Entry, History, append, open_history
from pipeline.registry.policy import Policy
from pipeline.registry.promotion import append_entry, data_faults, decide_and_record, find_reference
from pipeline.storage.places import is_remote
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.run_record import RunRecord, check_run
from pipeline.train.stage import fit_config, train_stage

if TYPE_CHECKING:
    from pipeline.evaluate.slice_config import Slicings


@dataclass(frozen=True)
class RetrainConfig:
    """What a retraining is to do.

    Attributes:
        options: of `preprocess`.
        config: of the challenger.
        warm_start: whether it begins with the champion's parameters, where there is a champion.
        policy: what it takes to be promoted.
        checks: of the data.
        baseline: the data set to look for drift from; None for the champion's.
        slicings: of the evaluation.
        saving: when training is saved on its way.
        why: the user's reason, for the history.
    """

    options: DatasetConfig
    config: TrainingConfig
    warm_start: bool
    policy: Policy
    checks: dict[str, CheckSettings]
    baseline: str | None
    slicings: "Slicings"
    saving: CheckpointPolicy
    why: str


@dataclass(frozen=True)
class RetrainResult:
    """What came of a retraining.

    Attributes:
        outcome: promoted or kept; unchanged if the same was decided before.
        entry: of the decision, now or before.
        history: up to it.
        data: the data set.
    """

    outcome: Literal["promoted", "kept", "unchanged"]
    entry: Entry
    history: History
    data: Dataset


def retrain(settings: StageContext, wanted: RetrainConfig, log: StageLog) -> RetrainResult:
    """Look at the sources, make what is missing, let the challenger and the champion compete, and enter the decision.

    Args:
        settings: of every stage; the workspace is this process's alone.
        wanted: what to do.
        log: is told what was done.

    Raises:
        BadInput: a source is missing or damaged, the data do not pass a check, or they do not fit the champion. What
            did not pass is entered in the history, once.
        CorruptArtefact: a file is not what its record says.
        EngineFailed: the engine gave up.
    """
    history = open_history(settings.workspace)
    data = preprocess_stage(settings, _expand(wanted.options), log)
    inputs = _digest_inputs(data, wanted)
    seen = history.seen(inputs)
    if seen and (seen.run_id or seen.champion == history.champion):  # a refusal may be of drift from another champion
        return _as_before(seen, history, data)
    config = _challenger_config(data, wanted, history)
    if history.champion:
        champion = check_run(settings.workspace, settings.workspace / history.champion.folder)
        check_fits(settings.workspace, data.manifest, champion)
        if config.warm_start:
            fit_config(data, config).check_start(champion.config.layers)
    find_reference(settings.workspace, history, data, wanted.policy)
    _validate(settings, data, wanted, history, inputs, log)
    [run] = train_stage(settings, data, [config], False, wanted.saving, log)
    evaluate_stage(settings, data, [run], wanted.slicings, log)
    with log.timed("decide"):
        entry = _decide(settings, data, run, wanted, history, inputs)
    return RetrainResult(entry.outcome, entry, History((*history, entry)), data)


def _expand(options: DatasetConfig) -> DatasetConfig:
    """Replace patterns such as incoming/* by what fits them now, in the order of the names."""
    return replace(options, datasets=tuple(chain.from_iterable(map(_fitting, options.datasets))))


def _fitting(name: str) -> list[str]:
    if is_remote(name) or not any(each in name for each in "*?[") or Path(name).exists():
        return [name]
    pattern = Path(name)
    start = Path(pattern.anchor)  # of a relative one, the working directory
    found = [path for path in start.glob(str(pattern.relative_to(start))) if not _is_hidden(path, pattern)]
    if not found:
        raise BadInput(f"{name}: nothing fits this pattern")
    return sorted(map(str, found))


def _is_hidden(path: Path, pattern: Path) -> bool:
    """Tell whether a pattern found a name that begins with a dot where it does not say so itself."""
    pairs = zip(path.parts, pattern.parts, strict=False)
    return any(part.startswith(".") and not asked.startswith(".") for part, asked in pairs)


def _digest_inputs(data: Dataset, wanted: RetrainConfig) -> str:
    """Name all that decides about a retraining but the champion, which a retraining itself may change."""
    versions = version("backbeam"), STREAMS_VERSION, version("tensorflow")
    checks = {name: settings.model_dump() for name, settings in sorted(wanted.checks.items())}
    configured = wanted.config.digest, wanted.warm_start, wanted.policy.digest, checks, wanted.baseline
    inputs = [data.digest, *configured, *versions]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def _as_before(seen: Entry, history: History, data: Dataset) -> RetrainResult:
    if seen.run_id is None:
        raise BadInput(
            f"{data.manifest.dataset_id} was refused before, entry {seen.number} of {seen.when}, and has not changed: "
            f"{'; '.join(seen.reasons)}"
        )
    return RetrainResult("unchanged", seen, history, data)


def _validate(
    settings: StageContext, data: Dataset, wanted: RetrainConfig, history: History, inputs: str, log: StageLog
) -> None:
    """Validate what is new: the data set and, if it is a joint one, each part that the champion was not trained on."""
    for each in [*_new_parts(settings, data, history), data]:
        try:
            _validate_one(settings, each, wanted, history, log)
        except BadInput:
            append(
                settings.workspace,
                history,
                action="retrain",
                outcome="kept",
                run_id=None,
                dataset_id=data.manifest.dataset_id,
                dataset_digest=data.digest,
                inputs=inputs,
                reasons=data_faults(settings.workspace, each),
                policy=wanted.policy,
                champion=history.champion,
                why=wanted.why,
            )
            raise


def _new_parts(settings: StageContext, data: Dataset, history: History) -> Sequence[Dataset]:
    datasets = settings.workspace / "datasets"
    known = set[str]()
    if history.champion:
        manifest, _ = load_manifest(datasets / history.champion.dataset_id)
        known = {manifest.dataset_id, *(part.dataset_id for part in manifest.parts)}
    new = [datasets / part.dataset_id for part in data.manifest.parts if part.dataset_id not in known]
    return [Dataset(folder, *load_manifest(folder)) for folder in new]


def _validate_one(
    settings: StageContext, data: Dataset, wanted: RetrainConfig, history: History, log: StageLog
) -> None:
    """Validate a data set in comparison with what the champion was trained on, unless that is this one.

    Then what was found when it was new stays, if the same was asked for.
    """
    own = history.champion is not None and history.champion.dataset_digest == data.digest
    if own and wanted.baseline is None and is_validated(data.folder):
        record = check_validation(settings.workspace, data.manifest.dataset_id, data.digest)
        if record.checks == wanted.checks and not record.with_outcome("error"):
            return
    usual = None if own or history.champion is None else history.champion.dataset_id
    validate_stage(settings, data, wanted.checks, find_baseline(settings.workspace, wanted.baseline or usual), log)


def _challenger_config(data: Dataset, wanted: RetrainConfig, history: History) -> TrainingConfig:
    champion = history.champion
    if not wanted.warm_start or champion is None:
        return wanted.config
    start = WarmStart(run_id=champion.run_id, sha256=champion.parameters.sha256)
    return wanted.config.model_copy(update={"warm_start": start})


def _decide(
    settings: StageContext, data: Dataset, run: RunRecord, wanted: RetrainConfig, history: History, inputs: str
) -> Entry:
    say("decide: working")
    about = {"action": "retrain", "inputs": inputs, "policy": wanted.policy, "why": wanted.why}
    if history.champion and history.champion.run_id == run.run_id:
        return append(
            settings.workspace,
            history,
            outcome="kept",
            run_id=run.run_id,
            dataset_id=data.manifest.dataset_id,
            dataset_digest=data.digest,
            reasons=("these data and this configuration give the champion itself",),
            champion=history.champion,
            **about,
        )
    objections = data_faults(settings.workspace, data)
    if run.run_id in history.rolled_back():
        again = "`backbeam rollback --to VERSION` makes it that again"
        objections = (*objections, f"it was the champion and was rolled back: {again}")
    decision = decide_and_record(settings, history, data, run, wanted.policy, objections)
    return append_entry(settings.workspace, history, data, run, decision, **about)
