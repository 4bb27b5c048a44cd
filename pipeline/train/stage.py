"""The stage that trains: check the machine, train the runs that are missing, skip those that are complete.

TensorFlow takes seconds to import, so it is imported only when there is a run to train.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from model.cluster import VARIABLE, read_cluster
from model.errors import BadUsage
from model.recipes import TrainingConfig, fit_to_data
from pipeline.context import StageContext, StageLog, quiet_imports, run_unless_complete
from pipeline.preprocess.dataset import Dataset, check_dataset, find_damage_in_share
from pipeline.progress import show_message
from pipeline.storage.files import remove_tree
from pipeline.storage.places import Place
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.memory_check import check_memory
from pipeline.train.run_names import check_names_are_free, rename_run
from pipeline.train.run_record import CHECKPOINTS_NAME, RUN_NAME, TENSORBOARD_NAME, RunRecord, check_run, run_id
from pipeline.train.training_process import TrainingProcess


def train_stage(
    context: StageContext,
    dataset: Dataset,
    configs: Sequence[TrainingConfig],
    tensorboard: bool,
    policy: CheckpointPolicy,
    log: StageLog,
    names: Sequence[str] = (),
    like: RunRecord | None = None,
    trainer: TrainingProcess | None = None,
) -> list[RunRecord]:
    """Train the runs that are missing, side by side if they are several, and check all; return their records.

    Several configurations differ only in their seeds. A run that was interrupted is resumed from its newest checkpoint.
    The files of the data set must have been verified; but with a cluster, each process verifies a share of them.
    `names` has a name for each run, or none; a complete run that has another name is renamed.
    With tensorboard, a run that was trained without a log gets one, if the workspace is on a disk.
    `like` is a record of the same run by which to choose the learning curve's points and the early steps whose
    parameters are kept; None to choose them by the configuration. `trainer` is the process to train in; None for this.

    Raises:
        BadUsage: the network does not fit the memory or the data set, TensorBoard is not installed, or another run has
            one of the names.
        CorruptArtefact: a file of the data set or of a run does not match its record, or a run has checkpoints and
            none of them verifies.
    """
    completed = [complete_config(dataset, config) for config in configs]
    folders = [context.workspace / "runs" / run_id(dataset.digest, config) for config in completed]
    missing = [config for config, folder in zip(completed, folders, strict=True) if not (folder / RUN_NAME).exists()]
    name_of = dict(zip([folder.name for folder in folders], names, strict=True)) if names else {}
    check_names_are_free(context.workspace, name_of)
    if context.cluster and not missing:
        check_dataset(dataset.folder)

    def build() -> None:
        check_memory(missing[0], context.device)  # again: now the sizes of the data set are known
        train = partial(_train, context, dataset, missing, tensorboard, policy, name_of=name_of, like=like)
        if trainer and _is_ready(trainer, log):
            log.add(trainer.call(partial(_time_stages, train)))
        else:
            train(log=log)

    def check() -> list[RunRecord]:
        for folder in folders:
            remove_tree(folder / CHECKPOINTS_NAME)  # a process may be killed between its last two steps
        records = [check_run(context.workspace, folder) for folder in folders]
        if tensorboard:
            add_tensorboard_logs(context, dataset, records)
        return [rename_run(context.workspace, run, name_of.get(run.run_id)) for run in records]

    return run_unless_complete("train", not missing, build, check, context, log)


def _is_ready(trainer: TrainingProcess, log: StageLog) -> bool:
    with log.timed("import"):
        is_ready = trainer.wait_until_ready()
    if not is_ready:
        show_message("train: the process that should train could not import what it needs; this one trains")
    return is_ready


def _time_stages(work: Callable[..., None]) -> dict[str, float]:
    """Call a function that takes a log, and return the durations in it."""
    log = StageLog()
    work(log=log)
    return log.seconds


def train_as_worker_stage(context: StageContext, dataset: Dataset, config: TrainingConfig, log: StageLog) -> str:
    """Train as a worker that is not the chief, writing no run; return the id of the run that the chief writes.

    Raises:
        CorruptArtefact: a file of the data set or of an existing run does not match its record.
        EngineFailed: another worker did not come, or is gone.
    """
    completed = complete_config(dataset, config)
    folder = context.workspace / "runs" / run_id(dataset.digest, completed)

    if (folder / RUN_NAME).exists():
        run_unless_complete("train", True, lambda: None, lambda: check_run(context.workspace, folder), context, log)
    else:  # without a check afterwards: the chief may write the run after this worker ends
        _train(context, dataset, [completed], False, CheckpointPolicy(), log, {})
    return folder.name


def check_machine(context: StageContext, config: TrainingConfig) -> None:
    """Fail before any work if the memory is too small or a GPU that is needed is missing; raises BadUsage."""
    check_memory(config, context.device)
    if context.device not in ("auto", "cpu") or config.precision == "tf32":
        with quiet_imports():
            from model.devices import choose_precision, initialise_devices

            devices = initialise_devices(context.device, config.num_replicas)
        choose_precision(config.precision, devices.logical[0])


def check_single_process(context: StageContext, config: TrainingConfig, tensorboard: bool) -> None:
    """Check what a command needs that trains in this process alone, before any work.

    Raises as `refuse_cluster`, `refuse_remote_logs` and `check_machine`.
    """
    refuse_cluster()
    refuse_remote_logs(context.workspace, tensorboard)
    check_machine(context, config)


def refuse_cluster() -> None:
    """Raise BadUsage if TF_CONFIG describes several processes: each would do the whole work."""
    if read_cluster(os.environ):
        raise BadUsage(
            f"{VARIABLE} names several processes, and only `backbeam train` works in several: run `backbeam "
            "preprocess` once, `backbeam train` in each, `backbeam evaluate` once; or unset the variable"
        )


def refuse_remote_logs(workspace: Place, tensorboard: bool) -> None:
    """Raise BadUsage if TensorBoard's logs would go to an object store, which its writer does not support."""
    if tensorboard and not isinstance(workspace, Path):
        raise BadUsage(f"--tensorboard needs a workspace on this machine, and {workspace} is in a store")


def complete_config(dataset: Dataset, config: TrainingConfig) -> TrainingConfig:
    """Return the configuration with what the data set decides; raises BadUsage as `model.recipes.fit_to_data`."""
    manifest = dataset.manifest
    num_examples = manifest.splits["train"].num_examples
    return fit_to_data(config, manifest.num_pixels, len(manifest.class_names), num_examples)


def _train(
    context: StageContext,
    dataset: Dataset,
    configs: Sequence[TrainingConfig],
    tensorboard: bool,
    policy: CheckpointPolicy,
    log: StageLog,
    name_of: Mapping[str, str],
    like: RunRecord | None = None,
) -> None:
    with log.timed("import"), quiet_imports():
        from model.replicas import start_engine
        from pipeline.train.trainer import train_as_worker, train_runs
        from pipeline.train.training_job import TrainingJob, prepare_attempt
    job = TrainingJob(context.workspace, dataset, tensorboard, policy, like)
    attempts = [prepare_attempt(job, config, name_of.get(run_id(dataset.digest, config))) for config in configs]
    identity = f"{attempts[0].run_id} from step {attempts[0].first_step}"  # equal in all processes of the cluster
    cluster = context.cluster
    damage = find_damage_in_share(dataset, cluster.task_index, len(cluster.addresses)) if cluster else None
    with log.timed("import"), quiet_imports():
        engine = start_engine(configs[0], context.device, cluster, identity, damage)
    with log.timed("train"):
        if cluster is None or cluster.is_chief:
            train_runs(job, attempts, engine, is_verified=cluster is None)
        else:
            train_as_worker(job, attempts[0], engine)


def add_tensorboard_logs(context: StageContext, dataset: Dataset, runs: Sequence[RunRecord]) -> None:
    """Write the TensorBoard logs of complete runs that have none, if the workspace is on a disk.

    Raises as `tensorboard.log_complete_run`.
    """
    workspace = context.workspace
    if not isinstance(workspace, Path):
        return
    lacking = [run for run in runs if not (workspace / "runs" / run.run_id / TENSORBOARD_NAME).exists()]
    if not lacking:
        return
    with quiet_imports():
        from model.devices import initialise_devices
        from pipeline.train.tensorboard import log_complete_run

        initialise_devices(context.device, lacking[0].config.num_replicas)
    for run in lacking:
        show_message(f"train: writing the TensorBoard log of {run.run_id}; its histograms are of the last step only")
        log_complete_run(workspace, dataset, run)
