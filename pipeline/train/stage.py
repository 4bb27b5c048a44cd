"""The stages after preprocessing, in order; what is complete and verifies is skipped.

TensorFlow and Beam take seconds to import, so each is imported by the first stage that has work for it: a run that
finds everything done imports neither.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from model.errors import BadUsage
from model.recipes import TrainingConfig, fit_to_data
from pipeline.context import StageContext, StageLog, quiet_imports, run_unless_complete
from pipeline.preprocess.dataset import Dataset
from pipeline.storage.files import remove_tree
from pipeline.storage.places import Place
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.memory_check import check_memory
from pipeline.train.run_record import CHECKPOINTS_NAME, RUN_NAME, TENSORBOARD_NAME, RunRecord, check_run, run_id

if TYPE_CHECKING:
    from pipeline.train.trainer import TrainingJob  # which imports TensorFlow


def train_stage(
    settings: StageContext,
    dataset: Dataset,
    configs: Sequence[TrainingConfig],
    tensorboard: bool,
    saving: CheckpointPolicy,
    log: StageLog,
) -> list[RunRecord]:
    """Make sure that the runs are there: train those that are missing, side by side if they are several.

    One that was broken off goes on from its newest checkpoint.

    Args:
        settings: of every stage.
        dataset: to train on.
        configs: one, or several that differ in their seeds.
        tensorboard: whether to log for TensorBoard too.
        saving: when runs are saved on their way.
        log: is told what was done.

    Returns:
        the record of each, in order.

    Raises:
        CorruptArtefact: a file of the data set or of a run is not what its record says, or no checkpoint of a run that
            has any is sound.
    """
    fitted = [fit_config(dataset, config) for config in configs]
    folders = [settings.workspace / "runs" / run_id(dataset.digest, config) for config in fitted]
    missing = [config for config, folder in zip(fitted, folders, strict=True) if not (folder / RUN_NAME).exists()]
    if tensorboard:
        _check_logged(folders)

    def build() -> None:
        check_memory(missing[0], settings.device)  # now that the sizes of the data set are known
        with log.timed("import"), quiet_imports():
            from model.replicas import start_engine
            from pipeline.train.trainer import prepare_attempt, train_runs
        job = _job(settings, dataset, tensorboard, saving)
        attempts = [prepare_attempt(job, config) for config in missing]
        with log.timed("import"), quiet_imports():
            engine = start_engine(missing[0], settings.device, settings.cluster, attempts[0].identity)
        with log.timed("train"):
            train_runs(job, attempts, engine)

    def check() -> list[RunRecord]:
        for folder in folders:
            remove_tree(folder / CHECKPOINTS_NAME)  # of a process that was killed when the run was complete
        return [check_run(settings.workspace, folder) for folder in folders]

    return run_unless_complete("train", not missing, build, check, settings, log)


def _job(settings: StageContext, dataset: Dataset, tensorboard: bool, saving: CheckpointPolicy) -> "TrainingJob":
    from pipeline.train.trainer import TrainingJob

    return TrainingJob(settings.workspace, dataset.folder, dataset.manifest, dataset.digest, tensorboard, saving)


def _check_logged(folders: Sequence[Place]) -> None:
    for folder in folders:
        if (folder / RUN_NAME).exists() and not (folder / TENSORBOARD_NAME).exists():
            raise BadUsage(
                f"{folder} was trained without --tensorboard: delete it to train again, or leave the option out"
            )


def assist_stage(settings: StageContext, dataset: Dataset, config: TrainingConfig, log: StageLog) -> str:
    """Train as a worker that is not the chief: it reads the data set, takes its share of every step, writes nothing.

    Returns:
        the id of the run that the chief writes.

    Raises:
        CorruptArtefact: a file of the data set, or of a run that is there already, is not what its record says.
        EngineFailed: another worker did not come, or is gone.
    """
    fitted = fit_config(dataset, config)
    folder = settings.workspace / "runs" / run_id(dataset.digest, fitted)

    def build() -> None:
        with log.timed("import"), quiet_imports():
            from model.replicas import start_engine
            from pipeline.train.trainer import assist_training, prepare_attempt
        job = _job(settings, dataset, tensorboard=False, saving=CheckpointPolicy())
        attempt = prepare_attempt(job, fitted)
        with log.timed("import"), quiet_imports():
            engine = start_engine(fitted, settings.device, settings.cluster, attempt.identity)
        with log.timed("train"):
            assist_training(job, attempt, engine)

    if (folder / RUN_NAME).exists():
        run_unless_complete("train", True, build, lambda: check_run(settings.workspace, folder), settings, log)
    else:
        build()
    return folder.name


def check_machine(settings: StageContext, config: TrainingConfig) -> None:
    """Fail before any work if the memory is too small, or a GPU that was named is not there; raises BadUsage."""
    check_memory(config, settings.device)
    if settings.device not in ("auto", "cpu"):
        with quiet_imports():
            from model.devices import initialise_devices

            initialise_devices(settings.device, config.num_replicas)


def fit_config(dataset: Dataset, config: TrainingConfig) -> TrainingConfig:
    """Return a configuration with what follows from a data set; raises BadUsage as `model.recipes.fit_to_data`."""
    manifest = dataset.manifest
    num_examples = manifest.splits["train"].num_examples
    return fit_to_data(config, manifest.num_pixels, len(manifest.class_names), num_examples)
