"""Training as a stage: a data set's verified shards in, a run's parameters and learning curve out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import isnan
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import tensorflow as tf
from rich.progress import Progress as ProgressDisplay

from model.batches import BatchPlan, SplitReader, make_chunks
from model.checkpoint import decode_parameters, encode_parameters
from model.errors import BadUsage, recover
from model.examples import Bytes, Examples, concatenate
from model.fitting import Listener, Program, Progress, fit, side_by_side
from model.lockstep import Agreement, Lockstep, begin, compare_steps
from model.network import Parameters
from model.recipes import TrainingConfig
from model.replicas import Engine, explain
from model.training import State
from pipeline.preprocess import shards
from pipeline.preprocess.manifest import Manifest
from pipeline.preprocess.shards import FIRST_EXAMPLES
from pipeline.processes import defer_signals
from pipeline.progress import say, training_progress
from pipeline.storage.commit import commit_file
from pipeline.storage.files import digest_of, make_empty_folder, read_with_digest, remove_tree, remove_tree_except
from pipeline.storage.places import Place
from pipeline.storage.records import FileInfo, now
from pipeline.storage.tables import (
    EVALUATION_TABLES,
    SCHEMAS,
    TRAINING_TABLES,
    TableFile,
    origin_columns,
    publish_tables,
    replace_tables,
    staging_folder,
    write_table,
)
from pipeline.train import run_record
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.checkpoints import (
    SavedCheckpoint,
    find_newest_checkpoint,
    remove_old_checkpoints,
    resume_from,
    write_checkpoint,
)
from pipeline.train.environment import current_conditions
from pipeline.train.local_shards import copy_shards_locally
from pipeline.train.monitor import Report, TrainingDiverged, TrainingMonitor, keep_resumable_on_failure
from pipeline.train.run_record import (
    CHECKPOINTS_NAME,
    PARAMETERS_NAME,
    RUN_NAME,
    TENSORBOARD_NAME,
    RunRecord,
    StepAgreement,
    current_versions,
)
from pipeline.train.tensorboard import TensorBoardLog

REPORT_EVERY = 1000  # steps, as the article does


@dataclass(frozen=True)
class TrainingJob:
    """What every run of a data set needs to know.

    Attributes:
        workspace: where runs go.
        dataset: the data set's folder.
        manifest: what it holds.
        dataset_digest: SHA-256 of the manifest.
        tensorboard: whether to log learning curves for TensorBoard too.
        saving: when runs are saved on their way.
    """

    workspace: Place
    dataset: Place
    manifest: Manifest
    dataset_digest: str
    tensorboard: bool
    saving: CheckpointPolicy


class TrainingAttempt(NamedTuple):
    """A run to train, from its start or from where it was left.

    Attributes:
        run_id: its name.
        config: fitted to the data.
        saved: the checkpoint to go on from, if there is one.
    """

    run_id: str
    config: TrainingConfig
    saved: SavedCheckpoint | None

    @property
    def identity(self) -> str:
        """What every process that trains it must agree on."""
        return f"{self.run_id} from step {self.saved.record.step if self.saved else 0}"


@dataclass(frozen=True)
class TrainedRun:
    """What training gives before it is written.

    Attributes:
        parameters: of the network.
        curve: the reports on the way.
        agreements: of manual and autodiff, chunk by chunk, if both ran in lockstep.
        seconds: that it took.
    """

    parameters: Parameters
    curve: list[Progress]
    agreements: list[Agreement]
    seconds: float


def prepare_attempt(job: TrainingJob, config: TrainingConfig) -> TrainingAttempt:
    """Look from where a run begins; nothing is changed.

    Raises:
        CorruptArtefact: it has checkpoints, and none of them is sound.
    """
    name = run_record.run_id(job.dataset_digest, config)
    return TrainingAttempt(name, config, find_newest_checkpoint(job.workspace / "runs" / name, config))


def train_runs(job: TrainingJob, attempts: Sequence[TrainingAttempt], engine: Engine) -> None:
    """Train one run, or several that differ in their seeds side by side, and write each with its record.

    What is broken off leaves a checkpoint of its last finished chunk, unless it diverged.

    Args:
        job: what they have in common.
        attempts: the runs, as `prepare_attempt` gives them.
        engine: made for any of them: a compiled program holds for every seed.

    Raises:
        CorruptArtefact: a shard is not as the manifest says.
        BadUsage: tensorboard is wanted but not installed, or a run diverged.
        EngineFailed: another worker of the cluster is gone.
    """
    reader, monitored = _readers(job)
    with training_progress() as bar:

        def work(attempt: TrainingAttempt, stop: Event) -> None:
            name = f"seed {attempt.config.seed}, " if len(attempts) > 1 else ""
            with defer_signals(stop.set):
                train_one(job, attempt, engine, reader, monitored, _progress_line(attempt, bar, name), stop)

        side_by_side(work, attempts)


def train_one(
    job: TrainingJob,
    attempt: TrainingAttempt,
    engine: Engine,
    reader: SplitReader,
    monitored: Examples,
    show: Report,
    stop: Event,
) -> None:
    """Train a run and write its parameters and its tables, then its record; then its checkpoints go."""
    run_id, config, saved = attempt
    folder = job.workspace / "runs" / run_id
    record, tables = folder / RUN_NAME, (*TRAINING_TABLES, *EVALUATION_TABLES)
    begun = resume_from(saved, first_state(job.workspace, attempt))  # what cannot begin leaves nothing behind
    _make_room(folder, saved)
    save = partial(write_checkpoint, folder, config, saved.resumed_at if saved else (), job.saving.keep)
    journal = TrainingMonitor(config, begun, [show], stop, job.saving, save)
    with keep_resumable_on_failure(folder, record, journal), replace_tables(job.workspace, run_id, tables, record):
        journal.listeners.extend(_boards(job, folder, config, monitored))
        trained = _fit(config, engine, reader, monitored, journal)
        agreements = trained.agreements or [_compare_steps(config, trained.parameters, reader)]
        _write(job, attempt, engine.device, folder, trained, agreements)
    remove_tree(folder / CHECKPOINTS_NAME)


def first_state(workspace: Place, attempt: TrainingAttempt) -> State | Lockstep:
    """Return the state before the first step: as the seed draws it, or with the parameters of another run.

    What goes on from a checkpoint needs no more of it than its form, so that other run may be gone by then.

    Raises:
        BadUsage: that run has other layers.
        CorruptArtefact: its parameters are gone, or no longer those that are meant.
    """
    config = attempt.config
    if config.warm_start is None or attempt.saved:
        return begin(config)
    path = workspace / "runs" / config.warm_start.run_id / PARAMETERS_NAME
    parameters = decode_parameters(read_with_digest(path, config.warm_start.sha256), str(path))
    config.check_start((parameters[0].weights.shape[-1], *(len(layer.biases) for layer in parameters)))
    return begin(config, parameters)


def _make_room(folder: Place, saved: SavedCheckpoint | None) -> None:
    """Clear away what an interrupted process left that is not gone on from."""
    if saved:
        remove_tree_except(folder, CHECKPOINTS_NAME, TENSORBOARD_NAME)
        remove_old_checkpoints(folder, saved)
    else:
        make_empty_folder(folder)


def _compare_steps(config: TrainingConfig, parameters: Parameters, reader: SplitReader) -> Agreement:
    """Compare the two ways to the gradients at the end of a run that took one, on the first batch of the shards."""
    shard = next(number for number, size in enumerate(reader.shard_sizes) if size)
    images, labels = (values[: config.batch_size] for values in reader.read_shard(shard)[1:])
    with tf.device("CPU:0"):
        return compare_steps(config, parameters, images, labels)


def _write(
    job: TrainingJob,
    attempt: TrainingAttempt,
    device: str,
    folder: Place,
    trained: TrainedRun,
    agreements: Sequence[Agreement],
) -> None:
    """Write what training gave, the record last."""
    (run_id, config, saved_before), digest = attempt, job.dataset_digest
    about = {"run_id": run_id, "dataset_digest": digest, "config": config.model_dump(mode="json")}
    saved = _write_parameters(folder, encode_parameters(trained.parameters, about))
    rows: dict[str, Sequence[Any]] = {"learning_curve": trained.curve, "gradient_agreement": agreements}
    tables = tuple(
        _write_rows(job.workspace, table, found, run_id, digest, saved.sha256) for table, found in rows.items()
    )
    publish_tables(job.workspace, run_id, TRAINING_TABLES)
    record = RunRecord(
        run_id=run_id,
        dataset_id=job.manifest.dataset_id,
        dataset_digest=digest,
        config=config,
        parameters=saved,
        tables=tables,
        agreement=_summarise(trained.agreements),
        device=device,
        seconds=trained.seconds,
        finished=now(),
        versions=current_versions(),
        resumed_at=saved_before.resumed_at if saved_before else (),
        conditions=current_conditions(),
    )
    commit_file(folder / RUN_NAME, record.to_json())


def assist_training(job: TrainingJob, attempt: TrainingAttempt, engine: Engine) -> None:
    """Train as one of several workers that is not the chief: the same steps, nothing written, no checkpoint either.

    Raises:
        CorruptArtefact: a shard is not as the manifest says.
        EngineFailed: another worker of the cluster is gone.
    """
    reader, monitored = _readers(job)
    with training_progress() as bar:
        config, stop = attempt.config, Event()
        begun = resume_from(attempt.saved, first_state(job.workspace, attempt))
        journal = TrainingMonitor(config, begun, [_progress_line(attempt, bar, "")], stop, job.saving, None)
        with defer_signals(stop.set):
            _fit(config, engine, reader, monitored, journal)


def _readers(job: TrainingJob) -> tuple[SplitReader, Examples]:
    """Return what reads the train split and the monitored test examples, once all shards are on this machine."""
    dataset = copy_shards_locally(job.dataset, job.manifest, job.workspace)
    if dataset != job.dataset:
        say(f"  shards are read from copies in {dataset}")
    return split_reader(dataset, job.manifest, "train"), first_examples(dataset, job.manifest, "test")


def split_reader(dataset: Place, manifest: Manifest, split: str) -> SplitReader:
    """Return a reader of a split's shards, which have been checked; each is checked for changes whenever it is read."""
    listed = manifest.splits[split].shards

    def read_shard(number: int, images: Bytes | None = None) -> Examples:
        return shards.read_shard_again(dataset, manifest, split, listed[number], images)

    return SplitReader(tuple(shard.num_examples for shard in listed), manifest.num_pixels, read_shard)


def first_examples(dataset: Place, manifest: Manifest, split: str) -> Examples:
    """Return a split's examples that are among the first 1,000 of its source, in the order of the source."""
    reader, found = split_reader(dataset, manifest, split), []
    for number in range(len(reader.shard_sizes)):
        examples = reader.read_shard(number)
        found.append(examples.take(np.flatnonzero(examples.indices < FIRST_EXAMPLES)))
    joined = concatenate(found, reader.num_pixels)
    return joined.take(np.argsort(joined.indices).astype(np.int64))


def _fit(
    config: TrainingConfig, engine: Engine, reader: SplitReader, monitored: Examples, journal: TrainingMonitor
) -> TrainedRun:
    """Train from where the journal begins to the end, and give errors of the shards back as what they were."""
    plan = BatchPlan(config.seed, config.batch_size, config.num_steps, REPORT_EVERY, config.window_mib * 2**20)
    program, listener = Program(journal.latest, engine.run_chunk), Listener(journal.report, journal.chunk_done)
    try:
        chunks = make_chunks(reader, plan, program.start.step)
        end = fit(config, program, chunks, monitored, listener, REPORT_EVERY)
    except tf.errors.OpError as problem:
        raise recover(problem) or explain(problem, config) or problem from problem
    parameters = end.state.parameters
    if not all(np.isfinite(part).all() for layer in parameters for part in layer):
        raise TrainingDiverged(config, "parameters are no numbers any more at the end")
    return TrainedRun(parameters, journal.curve, journal.agreements, end.seconds)


def _progress_line(attempt: TrainingAttempt, bar: ProgressDisplay, name: str) -> Report:
    """Show a progress bar on a terminal, a line a report elsewhere; say from where a run goes on."""
    saved = attempt.saved
    completed = saved.record.step if saved else 0
    task = bar.add_task(f"{name}training", total=attempt.config.num_steps, completed=completed, note="")
    if saved:
        say(f"  {name}going on from step {completed}, where {saved.path} was written")

    def show(point: Progress, _: Parameters) -> None:
        loss = "" if isnan(point.loss) else f"loss {point.loss:.4f}, "
        note = f"{loss}{point.num_correct} of the first {point.num_monitored} test examples right"
        bar.update(task, completed=point.step, note=note)
        say(f"  {name}step {point.step:>6}: {note}")

    return show


def _boards(job: TrainingJob, folder: Place, config: TrainingConfig, monitored: Examples) -> list[Report]:
    """Open a log for TensorBoard, if one is wanted."""
    if not job.tensorboard:
        return []
    if not isinstance(folder, Path):
        raise BadUsage(f"--tensorboard writes to a local folder, and {folder} is in a store: leave the option out")
    size = job.manifest.height, job.manifest.width
    return [TensorBoardLog(folder / TENSORBOARD_NAME, config, monitored, size).report]


def _write_parameters(folder: Place, data: bytes) -> FileInfo:
    commit_file(folder / PARAMETERS_NAME, data)
    return FileInfo(name=PARAMETERS_NAME, num_bytes=len(data), sha256=digest_of(data))


def _write_rows(
    workspace: Place, table: str, rows: Sequence[Any], run_id: str, dataset_digest: str, model_digest: str
) -> TableFile:
    """Write a table whose rows are named tuples of its columns."""
    columns = dict(zip(rows[0]._fields, zip(*rows, strict=True), strict=True))
    origin = origin_columns(len(rows), run_id, dataset_digest, model_digest)
    path = staging_folder(workspace, table, run_id) / f"{table}.parquet"
    file = write_table(path, pa.table(origin | columns, schema=SCHEMAS[table]), commit_file)
    return TableFile(table=table, **file.model_dump())


def _summarise(agreements: list[Agreement]) -> StepAgreement | None:
    if not agreements:
        return None
    last = agreements[-1]
    return StepAgreement(
        largest_difference=float(np.max([each.largest_difference for each in agreements])),
        drift=cast("float", last.drift),  # in lockstep there always is one
        largest_parameter=last.largest_parameter,
    )
