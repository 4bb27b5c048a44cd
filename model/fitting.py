"""A run from its first step to its last, and runs of several seeds side by side."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import tensorflow as tf

from model.examples import Examples
from model.functions import Tensor
from model.network import Parameters, predict_in_pieces
from model.recipes import TrainingConfig
from model.training import ChunkFunction, network_of

T = TypeVar("T")


class TrainingStopped(Exception):
    """The run was stopped: the user interrupted, or a run beside it failed."""


class Progress(NamedTuple):
    """One point of the learning curve.

    Attributes:
        step: updates done.
        examples_seen: updates done times the batch size.
        loss: the mean over the batches since the previous point, each before its own update; NaN at step 0.
        num_correct: correct predictions among the monitored examples.
        num_monitored: number of monitored examples.
        seconds: since training began, compilation included.
    """

    step: int
    examples_seen: int
    loss: float
    num_correct: int
    num_monitored: int
    seconds: float


class ChunkLoss(NamedTuple):
    """What one chunk adds to the loss of the next report.

    Attributes:
        mean: over its batches.
        num_steps: number of batches.
    """

    mean: float
    num_steps: int


class Standing(NamedTuple):
    """The state of a run at the end of a chunk; resuming from it gives the same bits as not stopping.

    Attributes:
        step: updates done.
        state: after the last step; its attribute `parameters` holds those of the network.
        losses: of the chunks since the last report.
        seconds: of training so far.
    """

    step: int
    state: Any
    losses: tuple[ChunkLoss, ...] = ()
    seconds: float = 0.0


class Program(NamedTuple):
    """Where a run begins and how it trains.

    Attributes:
        start: before the first step, or where an earlier process stopped.
        run_chunk: trains on a chunk of batches.
    """

    start: Standing
    run_chunk: ChunkFunction


class Listener(NamedTuple):
    """Callbacks of a run.

    Attributes:
        report: called at step 0, at every report_every steps and at the last, with the parameters there.
        chunk_done: called after every chunk, and after its report if it ends at one.
    """

    report: Callable[[Progress, Parameters], object]
    chunk_done: Callable[[Standing], object]


Chunks: TypeAlias = Iterable[tuple[Tensor, Tensor]]


def fit(
    config: TrainingConfig, program: Program, chunks: Chunks, monitored: Examples, listener: Listener, report_every: int
) -> Standing:
    """Train from the program's start to the configuration's last step.

    Args:
        config: the run.
        program: where it begins and how it trains.
        chunks: (images, labels) as a ChunkFunction takes them; together the batches from the start to num_steps, and
            some chunk must end at each multiple of report_every.
        monitored: examples to count correct predictions of, at each report.
        listener: callbacks.
        report_every: in steps.

    Returns:
        where it ended: the last step, with the trained parameters.
    """
    standing = program.start
    started = time.monotonic() - standing.seconds
    remaining = iter(chunks)  # reading the first begins here, and goes on while the first report is compiled
    count_correct = _counter(config, monitored)

    def report(step: int, parameters: Parameters, loss: float) -> None:
        correct = count_correct(parameters)
        seconds = time.monotonic() - started
        point = Progress(step, step * config.batch_size, loss, correct, len(monitored.labels), seconds)
        listener.report(point, parameters)

    if standing.step == 0:
        report(0, standing.state.parameters, float("nan"))
    for images, labels in remaining:
        state, loss = program.run_chunk(standing.state, images, labels)
        step = standing.step + len(labels)
        losses = (*standing.losses, ChunkLoss(float(loss), len(labels)))
        if step % report_every == 0 or step == config.num_steps:
            report(step, state.parameters, _weighted_mean(losses))
            losses = ()
        standing = Standing(step, state, losses, time.monotonic() - started)
        listener.chunk_done(standing)
    return standing


def side_by_side(work: Callable[[T, Event], None], runs: Sequence[T], most: int | None = None) -> None:
    """Train several runs at once, each in a thread of its own.

    Each run executes the same program as alone, so it gives the same bits. One program over stacked parameters
    (`model.stacked`) is no faster on a CPU: it takes as long as the runs one after the other, because XLA computes a
    batch of small products one by one on one core (tests/benchmarks).

    Args:
        work: trains one run; it must raise an exception soon after the event is set.
        runs: its arguments, one for each call.
        most: runs at once; None for as many as there are processor cores.

    Raises:
        Exception: the first exception of any run; the other runs are stopped.
    """
    stop = Event()
    if len(runs) == 1:
        return work(runs[0], stop)  # in this thread, as TensorFlow expects of processes that train together
    with ThreadPoolExecutor(min(len(runs), most or len(os.sched_getaffinity(0)))) as pool:
        try:
            futures = [pool.submit(work, run, stop) for run in runs]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            stop.set()  # on an interrupt too, or the pool would wait for the runs to end
            pool.shutdown(cancel_futures=True)


def _counter(config: TrainingConfig, examples: Examples) -> Callable[[Parameters], int]:
    images = tf.constant(examples.images)
    network = network_of(config)

    def count_correct(parameters: Parameters) -> int:
        predicted = np.argmax(predict_in_pieces(network, parameters, images), axis=1)
        return int((predicted == examples.labels).sum())

    return count_correct


def _weighted_mean(losses: Sequence[ChunkLoss]) -> float:
    return sum(mean * num_steps for mean, num_steps in losses) / sum(num_steps for _, num_steps in losses)
