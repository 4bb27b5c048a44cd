"""Retraining: preprocess, validate, train and evaluate a challenger, and decide whether it replaces the champion.

It can be repeated: complete stages are skipped, and inputs that were decided before are not decided again.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from model.errors import BadInput, BadUsage
from model.random_streams import STREAMS_VERSION
from model.recipes import TrainingConfig, WarmStart
from pipeline.context import StageContext, StageLog
from pipeline.evaluate.stage import check_table_sizes, evaluate_stage
from pipeline.preprocess.dataset import Dataset, find_baseline, load_dataset
from pipeline.preprocess.stage import DatasetConfig, preprocess_stage, validate_stage
from pipeline.preprocess.validation_config import CheckSettings, find_validation
from pipeline.progress import show_message
from pipeline.registry.history import Entry, History, load_history_and_repair_pointer
from pipeline.registry.policy import MOST_REASON, Policy
from pipeline.registry.promotion import append_decision, append_entry_about, find_data_faults, find_reference
from pipeline.registry.stored_answers import check_fits
from pipeline.sources.source_patterns import expand_source
from pipeline.storage.places import Place
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.run_names import check_names_are_free, rename_run
from pipeline.train.run_record import RUN_NAME, RunRecord, check_run, load_run
from pipeline.train.stage import add_tensorboard_logs, complete_config, train_stage

if TYPE_CHECKING:
    from pipeline.evaluate.slice_config import Slicings


@dataclass(frozen=True)
class RetrainConfig:
    """The configuration of a retraining."""

    dataset: DatasetConfig
    training: TrainingConfig
    warm_start: bool  # start training from the champion's parameters, if there is a champion
    policy: Policy
    checks: dict[str, CheckSettings]
    baseline: str | None  # id of the data set to measure drift from, or a prefix; None for the champion's
    slicings: "Slicings"
    checkpoints: CheckpointPolicy
    why: str
    name: str | None = None  # for the challenger; one that `check_name` allows
    tensorboard: bool = False

    def __post_init__(self) -> None:
        """Raise BadUsage if the reason is too long for the history, or the training is of a stack of networks."""
        if len(self.why) > MOST_REASON:
            raise BadUsage(f"--why: {len(self.why):,} characters, expected at most {MOST_REASON:,}")
        if self.training.stack > 1:
            raise BadUsage(f"--stack {self.training.stack}: retraining trains one network; leave the option out")


@dataclass(frozen=True)
class RetrainResult:
    """The result of a retraining; it is unchanged if the same inputs were decided before."""

    outcome: Literal["promoted", "kept", "unchanged"]
    entry: Entry  # of the decision, whether new or earlier
    history: History
    data: Dataset


def retrain(context: StageContext, config: RetrainConfig, log: StageLog) -> RetrainResult:
    """Train a challenger on the current sources, compare it with the champion, and append the decision to the history.

    The process must hold the lock of the workspace. Raises BadUsage if another run has the name; BadInput if a
    source is missing or damaged, or the data fail a check (which is entered in the history, once), do not fit the
    champion, or are too large for the tables of an evaluation; CorruptArtefact if a file does not match its record; and
    EngineFailed.
    """
    history = load_history_and_repair_pointer(context.workspace)
    data = preprocess_stage(context, _expand_patterns(config.dataset), log)
    fields = {"action": "retrain", "inputs": _digest_inputs(data, config), "why": config.why}  # of the entry
    earlier = next((entry for entry in reversed(history) if entry.inputs == fields["inputs"]), None)
    # rejected data are validated again if the champion changed: they may have drifted only from the earlier one's
    if earlier and (earlier.run_id or earlier.champion == history.champion):
        if earlier.run_id is None:
            raise BadInput(
                f"{data.manifest.dataset_id} was refused before, entry {earlier.number} of {earlier.when}, and has not "
                f"changed: {'; '.join(earlier.reasons)}"
            )
        _complete_earlier(context, data, earlier.run_id, config)
        return RetrainResult("unchanged", earlier, history, data)
    training = config.training
    if history.champion:
        champion = check_run(context.workspace, context.workspace / history.champion.folder)
        check_fits(context.workspace, data.manifest, champion)
        if config.warm_start:
            start = WarmStart(run_id=champion.run_id, sha256=history.champion.parameters.sha256)
            training = training.model_copy(update={"warm_start": start})
    _check_start(context.workspace, data, training)
    find_reference(context.workspace, history, data, config.policy)  # errors are raised before training, not after
    _validate(context, data, config, history, fields, log)
    check_table_sizes(data.manifest)
    names = () if config.name is None else (config.name,)
    [run] = train_stage(context, data, [training], config.tensorboard, config.checkpoints, log, names)
    evaluate_stage(context, data, [run], config.slicings, log)
    with log.timed("decide"):
        entry = _decide(context, data, run, config, history, fields)
    return RetrainResult(entry.outcome, entry, History((*history, entry)), data)


def _check_start(workspace: Place, data: Dataset, training: TrainingConfig) -> None:
    """Raise BadUsage if the run that training begins with has other layers. Training finds one that is gone."""
    folder = workspace / "runs" / training.warm_start.run_id if training.warm_start else None
    if folder and (folder / RUN_NAME).exists():
        complete_config(data, training).check_start(load_run(folder).config.layers)


def _complete_earlier(context: StageContext, data: Dataset, run_id: str, config: RetrainConfig) -> None:
    """Give a run that was decided about before the name and the log that this command asks for; see `train_stage`.

    Nothing is done if the run was deleted.
    """
    if not (context.workspace / "runs" / run_id / RUN_NAME).exists():
        show_message(f"{run_id} was deleted after the decision")
        return
    if config.name is not None:
        check_names_are_free(context.workspace, {run_id: config.name})
    if config.tensorboard:
        add_tensorboard_logs(context, data, [check_run(context.workspace, context.workspace / "runs" / run_id)])
    if config.name is not None:
        rename_run(context.workspace, load_run(context.workspace / "runs" / run_id), config.name)


def _expand_patterns(config: DatasetConfig) -> DatasetConfig:
    """Replace patterns, of files too, by the places that match them now: each is a source of its own."""
    return replace(config, datasets=tuple(place for name in config.datasets for place in expand_source(name)))


def _digest_inputs(data: Dataset, config: RetrainConfig) -> str:
    """Return the SHA-256 of all inputs but the champion, which the retraining itself may replace."""
    checks = {name: settings.model_dump() for name, settings in sorted(config.checks.items())}
    inputs = [data.digest, config.training.digest, config.warm_start, config.policy.digest, checks, config.baseline]
    versions = [version("backbeam"), STREAMS_VERSION, version("tensorflow")]
    return hashlib.sha256(json.dumps([*inputs, *versions]).encode()).hexdigest()


def _validate(
    context: StageContext, data: Dataset, config: RetrainConfig, history: History, fields: dict[str, Any], log: StageLog
) -> None:
    """Validate the data set and, if it is joint, each part that the champion was not trained on.

    Raises BadInput if a data set fails a check; an entry of the history says so.
    """
    for dataset in [*_new_parts(context, data, history), data]:
        try:
            _validate_one(context, dataset, config, history, log)
        except BadInput:
            reasons = find_data_faults(context.workspace, dataset)
            append_entry_about(context.workspace, history, data, config.policy, run_id=None, reasons=reasons, **fields)
            raise


def _new_parts(context: StageContext, data: Dataset, history: History) -> Sequence[Dataset]:
    datasets = context.workspace / "datasets"
    known = set[str]()
    if history.champion:
        manifest = load_dataset(datasets / history.champion.dataset_id).manifest
        known = {manifest.dataset_id, *(part.dataset_id for part in manifest.parts)}
    new = [part.dataset_id for part in data.manifest.parts if part.dataset_id not in known]
    return [load_dataset(datasets / dataset_id) for dataset_id in new]


def _validate_one(context: StageContext, data: Dataset, config: RetrainConfig, history: History, log: StageLog) -> None:
    """Validate a data set; by default its baseline is the champion's data set.

    If it is the champion's own, an earlier validation by the same checks, with its baseline of that time, is kept.
    """
    champion = history.champion
    is_own = champion is not None and champion.dataset_digest == data.digest
    if is_own and config.baseline is None:
        record = find_validation(context.workspace, data)
        if record and record.checks == config.checks and not record.with_outcome("error"):
            return
    default = None if is_own or champion is None else champion.dataset_id
    validate_stage(context, data, config.checks, find_baseline(context.workspace, config.baseline or default), log)


def _decide(
    context: StageContext,
    data: Dataset,
    run: RunRecord,
    config: RetrainConfig,
    history: History,
    fields: dict[str, Any],
) -> Entry:
    show_message("decide: working")
    if history.champion and history.champion.run_id == run.run_id:
        reasons = ("these data and this configuration give the champion itself",)
        return append_entry_about(
            context.workspace, history, data, config.policy, run_id=run.run_id, reasons=reasons, **fields
        )
    objections: tuple[str, ...] = ()
    if run.run_id in history.rolled_back():
        objections = ("it was the champion and was rolled back: `backbeam rollback --to VERSION` makes it that again",)
    return append_decision(context, history, data, run, config.policy, objections, **fields)
