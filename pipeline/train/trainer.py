"""Train the runs of a data set, from step 0 or from a checkpoint, and write each.

Training itself is `model.fitting.fit`; this module prepares its data, monitors it and handles its failures.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import isnan
from pathlib import Path
from threading import Event
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from rich.progress import Progress as ProgressDisplay

from model.batches import CHUNK_BYTES, BatchPlan
from model.checkpoint import decode_parameters
from model.errors import BadUsage, recover
from model.examples import Examples, concatenate
from model.fitting import Listener, Program, Progress, Standing, fit, side_by_side
from model.lockstep import Agreement, Lockstep, begin, compare_steps
from model.network import Parameters, load_layers
from model.reading import SplitReader
from model.recipes import TrainingConfig
from model.replicas import Engine, explain
from model.stacked import Stack
from model.training import State
from pipeline.processes import defer_signals
from pipeline.progress import format_percent, show_message, training_progress
from pipeline.storage.files import make_empty_folder, read_with_digest, remove_tree, remove_tree_except
from pipeline.storage.places import Place
from pipeline.storage.tables import EVALUATION_TABLES, TRAINING_TABLES, replace_tables
from pipeline.train.checkpoints import remove_unusable_files, resume_from, write_checkpoint
from pipeline.train.divergence import TrainingDiverged
from pipeline.train.layer_statistics import MOST_MEASURED, LayerMeter
from pipeline.train.monitor import Report, TrainingMonitor, keep_resumable_on_failure
from pipeline.train.run_record import CHECKPOINTS_NAME, PARAMETERS_NAME, RUN_NAME, TENSORBOARD_NAME
from pipeline.train.run_writer import write_run
from pipeline.train.split_reader import copy_shards_locally, make_split_reader, read_first_examples, read_sample
from pipeline.train.tensorboard import TensorBoardLog
from pipeline.train.training_job import TrainingAttempt, TrainingJob, group_attempts

PRINT_EVERY = 1000  # steps, as in the article


class TrainingData(NamedTuple):
    """The train split, and the examples that a run is monitored with."""

    reader: SplitReader
    monitored: Examples  # of the test split: every report counts correct predictions of them
    sample: Examples  # of the train split, a batch or more if the first shard has as many; none for other workers


def train_runs(job: TrainingJob, attempts: Sequence[TrainingAttempt], engine: Engine, is_verified: bool = True) -> None:
    """Train one run, or several that differ only in their seeds side by side or stacked, and write each.

    is_verified says whether this process has verified all shards; if not, it verifies each when it first reads it.
    A run that fails or is interrupted leaves a checkpoint of its last finished chunk, unless it diverged. Raises
    CorruptArtefact for a corrupt shard or checkpoint, BadUsage if a run diverged or TensorBoard is not installed, and
    EngineFailed if another worker of the cluster is gone.
    """
    num_sampled = max(MOST_MEASURED, attempts[0].config.batch_size)
    data = _load_data(job, is_verified, num_sampled)
    with training_progress() as bar:

        def show_of(attempt: TrainingAttempt) -> Report:
            return _progress_reporter(attempt, bar, f"seed {attempt.config.seed}, " if len(attempts) > 1 else "")

        for group in group_attempts(attempts):
            _train_group(job, group, engine, data, show_of)


def _train_group(
    job: TrainingJob,
    attempts: Sequence[TrainingAttempt],
    engine: Engine,
    data: TrainingData,
    show_of: Callable[[TrainingAttempt], Report],
) -> None:
    """Train runs at once, each in a thread of its own; those of a stack meet at every chunk to train it together."""
    num_stacked = attempts[0].config.stack
    stack = Stack(engine.run_chunk, num_stacked, len(attempts)) if num_stacked > 1 else None

    def work(attempt: TrainingAttempt, stop: Event) -> None:
        own = engine._replace(run_chunk=stack.join(attempt.config.seed, stop)) if stack else engine
        with defer_signals(stop.set):
            _train_one(job, attempt, own, data, show_of(attempt), stop)

    most = 1 if engine.gpu else None  # of programs: each has its chunks in the GPU's memory
    side_by_side(work, attempts, num_stacked if stack else most)


def _train_one(
    job: TrainingJob, attempt: TrainingAttempt, engine: Engine, data: TrainingData, show: Report, stop: Event
) -> None:
    config = attempt.config
    folder = job.workspace / "runs" / attempt.run_id
    record = folder / RUN_NAME
    # Before anything is changed: a checkpoint or a warm start that cannot be used must leave the workspace as it was.
    start = resume_from(attempt.saved, initial_state(job.workspace, attempt), config)
    if attempt.saved:
        remove_tree_except(folder, CHECKPOINTS_NAME, TENSORBOARD_NAME)
        remove_unusable_files(folder, attempt.saved)
    else:
        make_empty_folder(folder)
    save = partial(write_checkpoint, folder, config, attempt.resumed_at, job.checkpoint_policy.keep)
    meter = LayerMeter(config, data.sample, job.measurement_spacing_of(config))
    monitor = TrainingMonitor(
        config, start, [show], stop, job.checkpoint_policy, save, meter, job.early_steps_of(config)
    )
    tables = (*TRAINING_TABLES, *EVALUATION_TABLES)  # evaluation tables of earlier parameters would be stale
    with (
        keep_resumable_on_failure(folder, record, monitor),
        replace_tables(job.workspace, attempt.run_id, tables, record),
    ):
        monitor.listeners.extend(_open_tensorboard(job, folder, config, data.monitored))
        end = _fit(config, engine, data, monitor, job.spacing_of(config))
        # not into the monitor, whose checkpoint may still be written: it has agreements of a run in lockstep only
        agreements = monitor.agreements or [_compare_steps(config, end.state.parameters, data.sample)]
        write_run(job, attempt, end, monitor, agreements, engine.device)
    remove_tree(folder / CHECKPOINTS_NAME)


def initial_state(workspace: Place, attempt: TrainingAttempt) -> State | Lockstep:
    """Return the state before the first step: drawn from the seed, or with the parameters of a warm start.

    An attempt that resumes from a checkpoint needs only the structure of this state, so the run of a warm start is not
    read and may be deleted by then. Raises BadUsage if that run has other layers, CorruptArtefact if its parameters are
    missing or do not have the digest that the configuration names.
    """
    config = attempt.config
    if config.warm_start is None or attempt.saved:
        return begin(config)
    path = workspace / "runs" / config.warm_start.run_id / PARAMETERS_NAME
    parameters = decode_parameters(read_with_digest(path, config.warm_start.sha256), str(path))
    config.check_start((parameters[0].weights.shape[-1], *(len(layer.biases) for layer in parameters)))
    return begin(config, load_layers(parameters))


def train_as_worker(job: TrainingJob, attempt: TrainingAttempt, engine: Engine) -> None:
    """Take the same steps as the chief, but write neither the run nor checkpoints; raises as `train_runs`.

    Shards are verified when they are first read, so those that this worker does not need are not read.
    """
    data = _load_data(job, is_verified=False, num_sampled=0)
    with training_progress() as bar:
        stop = Event()
        config = attempt.config
        start = resume_from(attempt.saved, initial_state(job.workspace, attempt), config)
        show = _progress_reporter(attempt, bar, "")
        early_steps = job.early_steps_of(config)  # the chunks of all workers must end at the same steps
        monitor = TrainingMonitor(
            config, start, [show], stop, job.checkpoint_policy, write=None, early_steps=early_steps
        )
        with defer_signals(stop.set):
            _fit(config, engine, data, monitor, job.spacing_of(config))


def _load_data(job: TrainingJob, is_verified: bool, num_sampled: int) -> TrainingData:
    """Open the data set; is_verified says whether its shards were verified before. Copies are, when they are made.

    The sample of the train split is of that many examples, if its first shard has as many.
    """
    manifest = job.dataset.manifest
    folder = copy_shards_locally(job.dataset.folder, manifest, job.workspace)
    if folder != job.dataset.folder:
        show_message(f"  shards are read from copies in {folder}")
        is_verified = True
    reader = make_split_reader(folder, manifest, "train", is_verified)
    monitored = read_first_examples(folder, manifest, "test", is_verified)
    sample = read_sample(reader, num_sampled) if num_sampled else concatenate([], reader.num_pixels)
    return TrainingData(reader, monitored, sample)


def _fit(
    config: TrainingConfig, engine: Engine, data: TrainingData, monitor: TrainingMonitor, spacing: int
) -> Standing:
    """Train from where the monitor begins to the last step, and return the end; spacing is that of the curve's points.

    TensorFlow wraps the errors of a shard reader as text; they are raised as what they were.
    """
    plan = BatchPlan(
        config.seed,
        config.batch_size,
        config.num_steps,
        spacing,
        config.window_mib * 2**20,
        CHUNK_BYTES // config.stack,
        num_parts=config.num_replicas if config.own_shards else 1,
        early_steps=tuple(monitor.early_steps),
    )
    program = Program(monitor.latest, engine.run_chunk)
    listener = Listener(monitor.report, monitor.chunk_done)
    try:
        chunks = engine.make_chunks(data.reader, plan, program.start.step)
        end = fit(config, program, chunks, data.monitored, listener, spacing)
    except tf.errors.OpError as problem:
        raise recover(problem) or explain(problem, config, engine.device) or problem from problem
    # The last reported loss is from before the last update, so it can be finite where the parameters are not.
    if not all(np.isfinite(part).all() for layer in end.state.parameters for part in layer):
        raise TrainingDiverged.of(config, "parameters are infinite or NaN after the last step")
    return end


def _compare_steps(config: TrainingConfig, parameters: Parameters, sample: Examples) -> Agreement:
    """Compare a manual with an autodiff step from the trained parameters, on the first examples of the train split."""
    images = sample.images[: config.batch_size]
    labels = sample.labels[: config.batch_size]
    with tf.device("CPU:0"):  # so that the result does not depend on the device that the run was trained on
        return compare_steps(config, parameters, images, labels)


def _progress_reporter(attempt: TrainingAttempt, bar: ProgressDisplay, label: str) -> Report:
    """Return a listener that moves a progress bar on a terminal; elsewhere it prints a line every PRINT_EVERY steps."""
    task = bar.add_task(f"{label}training", total=attempt.config.num_steps, completed=attempt.first_step, note="")
    if attempt.saved:
        text = f"  {label}continuing from the checkpoint of step {attempt.first_step}"
        show_message(text, "training_resumed", stage="train", run=attempt.run_id, counts={"steps": attempt.first_step})

    def show(point: Progress, _: Parameters) -> None:
        loss = "" if isnan(point.loss) else f"loss {point.loss:.4f}, "
        note = f"{loss}{point.num_correct} of the first {point.num_monitored} test examples right"
        share = format_percent(point.num_correct / max(1, point.num_monitored), 1)
        bar.update(task, completed=point.step, note=f"{loss}{share} right")  # short: a terminal may have 80 columns
        if point.step % PRINT_EVERY == 0 or point.step == attempt.config.num_steps:
            counts = {"steps": point.step, "examples": point.num_monitored, "correct": point.num_correct}
            text = f"  {label}step {point.step:>6}: {note}"
            show_message(text, "training_progress", stage="train", run=attempt.run_id, counts=counts)

    return show


def _open_tensorboard(job: TrainingJob, folder: Place, config: TrainingConfig, monitored: Examples) -> list[Report]:
    """Return the listener that writes the TensorBoard log, or none; raises BadUsage if the workspace is in a store."""
    if not job.tensorboard:
        return []
    if not isinstance(folder, Path):
        raise BadUsage(f"--tensorboard writes to a local folder, and {folder} is in a store: leave the option out")
    image_size = (job.dataset.manifest.height, job.dataset.manifest.width)
    return [TensorBoardLog(folder / TENSORBOARD_NAME, config, monitored, image_size).report]
