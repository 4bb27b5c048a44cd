"""A process for each peer, kept alive and asked in turn, so that no two libraries share a process or work at once."""

import gc
import importlib
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np

from model.recipes import TrainingConfig
from pipeline.context import quiet_imports
from tests.benchmarks import cases
from tests.benchmarks.cases import Work
from tests.benchmarks.common import PeerFailed

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


class Child:
    """A peer's process, from this side."""

    def __init__(self, title: str, pool: ProcessPoolExecutor) -> None:
        self.title = title
        self._pool = pool

    def ask(self, what: str, *arguments: Any) -> Any:
        """Call a method of the child's `Worker`; raises PeerFailed."""
        try:
            return self._pool.submit(_call, what, arguments).result()
        except BrokenProcessPool:
            raise PeerFailed(f"{self.title}: the process has ended; it was to {what}") from None
        except Exception as problem:
            raise PeerFailed(f"{self.title}: {what}: {problem!r}\n{problem.__cause__}") from None


@contextmanager
def child_of(title: str, module: str, config: TrainingConfig | None = None) -> Iterator[Child]:
    """Start a peer's process; with a configuration it restricts its threads as `backbeam train` does for it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _start, (module, config)) as pool:
        yield Child(title, pool)


class Worker:
    def __init__(self, module: str, config: TrainingConfig | None) -> None:
        started = time.perf_counter()
        with nullcontext() if module == "keras_fit" else quiet_imports():  # which would leave out Keras
            self._module = importlib.import_module(f"tests.benchmarks.peers.{module}")
            if "tensorflow" in sys.modules:
                from model.devices import choose_threads, initialise_devices

                if config:
                    choose_threads(config.layers, config.batch_size)
                initialise_devices()
        self._import_seconds = time.perf_counter() - started
        self._trainer: Any = None

    def import_seconds(self) -> float:
        return self._import_seconds

    def make_work(self, config: TrainingConfig, images: np.ndarray, labels: np.ndarray) -> Work:
        """See `cases.make_work`; it needs TensorFlow, so only processes that have it are asked."""
        return cases.make_work(config, images, labels)

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


_workers: list[Worker] = []  # of this process: the one that it is, or none


def _start(module: str, config: TrainingConfig | None) -> None:
    os.environ.update(_ENVIRONMENT)
    _workers.append(Worker(module, config))


def _call(what: str, arguments: tuple[Any, ...]) -> Any:
    return getattr(_workers[0], what)(*arguments)
