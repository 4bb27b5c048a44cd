"""A run on its way: what it has found so far, whom it tells, when that is saved, and what stops it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from threading import Event
from typing import TypeAlias

import tensorflow as tf

from model.errors import BackbeamError, BadUsage
from model.fitting import Progress, Standing
from model.lockstep import Lockstep, agreement
from model.network import Parameters
from model.recipes import TrainingConfig
from pipeline.progress import say, warn
from pipeline.storage.files import remove_tree, remove_tree_except, suppress_storage_errors
from pipeline.storage.places import Place
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.checkpoints import Snapshot
from pipeline.train.run_record import CHECKPOINTS_NAME, TENSORBOARD_NAME

Report: TypeAlias = Callable[[Progress, Parameters], object]


class TrainingStopped(Exception):
    """Another run beside this one failed, or the user interrupted."""


class TrainingDiverged(BadUsage):
    """The numbers of a run ran away."""

    def __init__(self, config: TrainingConfig, how: str) -> None:
        rates = f"weights_rate {config.weights_rate:g} and biases_rate {config.biases_rate:g}"
        super().__init__(f"training with seed {config.seed} diverged: {how}; lower {rates}")


class TrainingMonitor:
    """What one run has found so far; `report` and `chunk_done` are what a `model.fitting.Listener` wants.

    Attributes:
        curve: the reports.
        agreements: of manual and autodiff, chunk by chunk, if both run in lockstep.
        latest: where the last finished chunk ended, or where the run began.
        listeners: who is told of reports too.
    """

    def __init__(
        self,
        config: TrainingConfig,
        start: Snapshot,
        listeners: list[Report],
        stop: Event,
        saving: CheckpointPolicy,
        write: Callable[[Snapshot], None] | None,
    ) -> None:
        """Begin.

        Args:
            config: the run.
            start: where it begins.
            listeners: who is told of reports too.
            stop: breaks the run off, once it is set.
            saving: when to write checkpoints.
            write: writes one; None where another process does.
        """
        self.curve, self.agreements = list(start.curve), list(start.agreements)
        self.latest, self.listeners = start.standing, listeners
        self._config, self._stop, self._saving, self._write = config, stop, saving, write
        self._saved = start.standing

    def report(self, point: Progress, parameters: Parameters) -> None:
        """Take a point of the curve; raises Diverged if its loss is no number."""
        if point.step and not isfinite(point.loss):
            raise TrainingDiverged(self._config, f"the loss is {point.loss} at step {point.step}")
        self.curve.append(point)
        for listener in self.listeners:
            listener(point, parameters)

    def chunk_done(self, standing: Standing) -> None:
        """Take the end of a chunk, and save it if that is due; raises Stopped if the run is to end here."""
        if isinstance(standing.state, Lockstep):
            self.agreements.append(agreement(standing.step, standing.state))
        earlier, self.latest = self.latest.step, standing
        seconds = standing.seconds - self._saved.seconds
        if standing.step < self._config.num_steps and self._saving.is_due(earlier, standing.step, seconds):
            self._save()
        if self._stop.is_set():
            raise TrainingStopped

    def leave(self) -> None:
        """Save the last finished chunk, if it is not, and say from where the run will go on."""
        try:
            if self.latest.step > self._saved.step:
                self._save()
        except (BackbeamError, OSError, tf.errors.OpError) as problem:  # what broke the run off is what to end with
            warn(f"train: warning: no checkpoint of step {self.latest.step} could be written: {problem}")
        if self._write and self._saved.step:
            step = self._saved.step
            say(f"train: seed {self._config.seed} is left at step {step}: the same command goes on from there")

    def _save(self) -> None:
        """Write what there is up to the last finished chunk: a signal may come when a later report is in already."""
        if self._write:
            latest = self.latest
            curve = tuple(point for point in self.curve if point.step <= latest.step)
            self._write(Snapshot(latest, curve, tuple(each for each in self.agreements if each.step <= latest.step)))
            self._saved = latest


@contextmanager
def keep_resumable_on_failure(folder: Place, record: Place, journal: TrainingMonitor) -> Iterator[None]:
    """Leave of a run that does not come to its end, interruptions included, what it can go on from, and nothing else.

    Args:
        folder: of the run.
        record: what is written last: once it is there, all that it names is, and stays.
        journal: of the run; one that diverged would only diverge again.
    """
    try:
        yield
    except BaseException as problem:
        with suppress_storage_errors():
            if not record.exists():
                if not isinstance(problem, TrainingDiverged):
                    journal.leave()
                _clear(folder, isinstance(problem, TrainingDiverged))
        raise


def _clear(folder: Place, diverged: bool) -> None:
    if diverged or not any((folder / CHECKPOINTS_NAME).glob("*")):
        remove_tree(folder)
    else:
        remove_tree_except(folder, CHECKPOINTS_NAME, TENSORBOARD_NAME)
