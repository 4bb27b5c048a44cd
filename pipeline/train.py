"""Training as a stage: a data set's verified shards in, a run's parameters and learning curve out."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from math import isnan
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import tensorflow as tf

from model.batches import Plan, SplitReader, make_chunks
from model.checkpoint import encode_parameters
from model.errors import BadUsage, recover
from model.examples import Examples, concatenate, decode
from model.network import Parameters
from model.recipes import TrainingConfig
from model.replicas import Engine, explain
from model.training import Progress, fit
from pipeline import runs, storage
from pipeline.console import console, training_progress
from pipeline.manifest import FileInfo, Manifest
from pipeline.metrics import FIRST_EXAMPLES
from pipeline.runs import RunRecord, TableFile
from pipeline.tables import SCHEMAS, origin_columns, partition, write_table

Listener: TypeAlias = Callable[[Progress], object]

REPORT_EVERY = 1000  # steps, as the article does


def train(
    workspace: Path,
    dataset: Path,
    manifest: Manifest,
    dataset_digest: str,
    config: TrainingConfig,
    engine: Engine,
    tensorboard: bool,
    visible: bool,
) -> RunRecord:
    """Train a run and write its parameters and its learning curve, then its record.

    Args:
        workspace: where the run goes.
        dataset: the data set's folder.
        manifest: what it holds.
        dataset_digest: SHA-256 of the manifest.
        config: fitted to the data.
        engine: how to train it.
        tensorboard: whether to log the learning curve for TensorBoard too.
        visible: whether to show progress on standard error.

    Raises:
        CorruptArtefact: a shard is not as the manifest says.
        BadUsage: tensorboard is wanted but not installed.
        EngineFailed: another worker of the cluster is gone.
    """
    run_id = runs.run_id(dataset_digest, config)
    folder = workspace / "runs" / run_id
    storage.make_empty(folder)
    with storage.removed_on_failure(folder, workspace / partition("learning_curve", run_id)):
        listeners = [_tensorboard(folder / "tensorboard")] if tensorboard else []
        started = time.monotonic()
        parameters, curve = _fit(dataset, manifest, config, engine, listeners, visible)
        about = {"run_id": run_id, "dataset_digest": dataset_digest, "config": config.model_dump(mode="json")}
        saved = _write_parameters(folder, encode_parameters(parameters, about))
        record = RunRecord(
            run_id=run_id,
            dataset_id=manifest.dataset_id,
            dataset_digest=dataset_digest,
            config=config,
            parameters=saved,
            learning_curve=_write_curve(
                workspace, curve, origin_columns(len(curve), run_id, dataset_digest, saved.sha256)
            ),
            device=engine.device,
            seconds=time.monotonic() - started,
            versions=runs.current_versions(),
        )
        runs.write_record(folder, runs.RUN_NAME, record)
        return record


def assist(dataset: Path, manifest: Manifest, config: TrainingConfig, engine: Engine, visible: bool) -> None:
    """Train as one of several workers that is not the chief: the same steps, nothing written.

    Raises:
        CorruptArtefact: a shard is not as the manifest says.
        EngineFailed: another worker of the cluster is gone.
    """
    _fit(dataset, manifest, config, engine, [], visible)


def split_reader(dataset: Path, manifest: Manifest, split: str) -> SplitReader:
    """Return a reader of a split's shards, each checked whenever it is read."""
    shards = manifest.splits[split].shards

    def read_shard(number: int) -> Examples:
        return decode(shards[number].read(dataset), manifest.num_pixels, str(dataset / shards[number].name))

    return SplitReader(tuple(shard.num_examples for shard in shards), manifest.num_pixels, read_shard)


def first_examples(dataset: Path, manifest: Manifest, split: str) -> Examples:
    """Return a split's examples that are among the first 1,000 of its source, in the order of the source."""
    reader, found = split_reader(dataset, manifest, split), []
    for number in range(len(reader.shard_sizes)):
        examples = reader.read_shard(number)
        found.append(examples.take(np.flatnonzero(examples.indices < FIRST_EXAMPLES)))
    joined = concatenate(found, reader.num_pixels)
    return joined.take(np.argsort(joined.indices).astype(np.int64))


def _fit(
    dataset: Path,
    manifest: Manifest,
    config: TrainingConfig,
    engine: Engine,
    listeners: list[Listener],
    visible: bool,
) -> tuple[Parameters, list[Progress]]:
    """Train, tell every listener of every report, and give errors of the shards back as what they were."""
    curve: list[Progress] = []
    plan = Plan(config.seed, config.batch_size, config.num_steps, REPORT_EVERY)
    chunks = make_chunks(split_reader(dataset, manifest, "train"), plan)
    monitored = first_examples(dataset, manifest, "test")
    with _progress_line(config, visible) as show:

        def report(point: Progress) -> None:
            for listener in (curve.append, show, *listeners):
                listener(point)

        try:
            return fit(config, chunks, monitored, report, REPORT_EVERY, engine.run_chunk), curve
        except tf.errors.OpError as problem:
            raise recover(problem) or explain(problem, config) or problem from problem


@contextmanager
def _progress_line(config: TrainingConfig, visible: bool) -> Iterator[Listener]:
    """Show a progress bar on a terminal, a line a report elsewhere."""
    with training_progress(visible) as bar:
        task = bar.add_task("training", total=config.num_steps, note="")

        def show(point: Progress) -> None:
            loss = "" if isnan(point.loss) else f"loss {point.loss:.4f}, "
            note = f"{loss}{point.num_correct} of the first {point.num_monitored} test examples right"
            bar.update(task, completed=point.step, note=note)
            if visible:
                console.print(f"  step {point.step:>6}: {note}")

        yield show


def _tensorboard(folder: Path) -> Listener:
    """Log to a folder that TensorBoard reads."""
    if find_spec("tensorboard") is None:
        raise BadUsage("--tensorboard needs the package tensorboard: pip install 'backbeam[tensorboard]'")
    writer = tf.summary.create_file_writer(str(folder))

    def log(point: Progress) -> None:
        with writer.as_default(step=point.step):
            if not isnan(point.loss):
                tf.summary.scalar("loss", point.loss)
            tf.summary.scalar("accuracy of the first test examples", point.num_correct / max(1, point.num_monitored))
        writer.flush()

    return log


def _write_parameters(folder: Path, data: bytes) -> FileInfo:
    storage.write_atomically(folder / runs.PARAMETERS_NAME, data)
    return FileInfo(name=runs.PARAMETERS_NAME, num_bytes=len(data), sha256=storage.digest_of(data))


def _write_curve(workspace: Path, curve: list[Progress], origin: dict[str, list[Any]]) -> TableFile:
    columns = dict(zip(Progress._fields, zip(*curve, strict=True), strict=True))
    path = workspace / partition("learning_curve", origin["run_id"][0]) / "learning_curve.parquet"
    file = write_table(path, pa.table(origin | columns, schema=SCHEMAS["learning_curve"]))
    return TableFile(table="learning_curve", **file.model_dump())
