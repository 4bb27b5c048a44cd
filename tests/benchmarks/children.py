"""A process for each peer, kept alive and asked in turn, so that no two libraries share a process or work at once."""

import gc
import importlib
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from model.recipes import TrainingConfig
from pipeline.context import quiet_imports
from tests.benchmarks.cases import Work, make_work
from tests.benchmarks.common import PeerFailed

_PATIENCE_SECONDS = 10

_ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}  # everybody works on the CPU


class Timed(NamedTuple):
    """How long a peer took: seconds of wall time, and of all its threads together."""

    seconds: float
    cpu_seconds: float


class Chosen(NamedTuple):
    """A peer's fastest setting, the seconds of its first chunk, compilation included, and of each further one."""

    setting: dict[str, Any]
    first_seconds: float
    chunk_seconds: float


class Worker:
    def __init__(self, module: str) -> None:
        started = time.perf_counter()
        with quiet_imports():
            self._module = importlib.import_module(f"tests.benchmarks.peers.{module}")
            if "tensorflow" in sys.modules:
                from model.devices import initialise_devices

                initialise_devices()
        self._import_seconds = time.perf_counter() - started
        self._trainer: Any = None

    def import_seconds(self) -> float:
        return self._import_seconds

    def make_work(self, config: TrainingConfig, images: np.ndarray, labels: np.ndarray) -> Work:
        """See `cases.make_work`; it needs TensorFlow, so only processes that have it are asked."""
        return make_work(config, images, labels)

    def first_step(self, work: Work, setting: dict[str, Any]) -> float:
        one = work.first_steps(1)
        started = time.perf_counter()
        self._module.prepare(one, **setting).run(1)
        return time.perf_counter() - started

    def trained(self, work: Work, setting: dict[str, Any]) -> list[np.ndarray]:
        """Train on the first chunk of other work, and return the parameters: weights (inputs, outputs) and biases."""
        trainer = self._module.prepare(work, **setting)
        trainer.run(1)
        return list(trainer.parameters())

    def choose(self, work: Work, settings: tuple[dict[str, Any], ...], seconds: float) -> Chosen:
        """Take the setting that is fastest over that many seconds; `run` works with it from now on."""
        self._trainer, best = None, None
        for setting in settings:
            trainer = self._module.prepare(work, **setting)
            first, second = _time(trainer, 1).seconds, _time(trainer, 1).seconds
            num_chunks = max(1, round(seconds / second))
            found = Chosen(setting, first, _time(trainer, num_chunks).seconds / num_chunks)
            if best is None or found.chunk_seconds < best.chunk_seconds:
                best, self._trainer = found, trainer
        if len(settings) > 1:  # some settings hold for the process, so the best must be made anew
            self._trainer = self._module.prepare(work, **best.setting)
            self._trainer.run(1)
        gc.collect()
        return best

    def run(self, num_chunks: int) -> Timed:
        return _time(self._trainer, num_chunks)


def _time(trainer: Any, num_chunks: int) -> Timed:
    started, cpu_started = time.perf_counter(), time.process_time()
    trainer.run(num_chunks)
    return Timed(time.perf_counter() - started, time.process_time() - cpu_started)


class Child:
    """A peer's process, from this side."""

    def __init__(self, title: str, connection: Connection, process_id: int) -> None:
        self.title = title
        self.process_id = process_id
        self._connection = connection

    def ask(self, what: str, *arguments: Any) -> Any:
        """Call a method of the child's `Worker`; raises PeerFailed."""
        try:
            self._connection.send((what, arguments))
            succeeded, answer = self._connection.recv()
        except (EOFError, OSError):
            raise PeerFailed(f"{self.title}: the process has ended; it was to {what}") from None
        if not succeeded:
            raise PeerFailed(f"{self.title}: {what}:\n{answer}")
        return answer


@contextmanager
def child_of(title: str, module: str) -> Iterator[Child]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, module), name=title, daemon=True)
    process.start()
    theirs.close()
    try:
        yield Child(title, ours, process.pid or 0)
    finally:
        ours.close()  # the child then reads the end of its requests
        process.join(_PATIENCE_SECONDS)
        process.kill()


def _serve(connection: Connection, module: str) -> None:
    os.environ.update(_ENVIRONMENT)
    worker = None
    while True:
        try:
            what, arguments = connection.recv()
        except EOFError:
            return
        try:
            worker = worker or Worker(module)
            connection.send((True, getattr(worker, what)(*arguments)))
        except Exception:
            connection.send((False, traceback.format_exc()))
