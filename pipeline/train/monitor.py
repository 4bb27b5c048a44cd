"""Monitor a run while it trains: collect its reports, write checkpoints, stop it, and clean up after a failure."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from threading import Event
from typing import TypeAlias

import tensorflow as tf

from model.errors import BackbeamError
from model.fitting import Progress, Standing, TrainingStopped
from model.lockstep import Lockstep, agreement
from model.network import Parameters
from model.recipes import TrainingConfig
from pipeline.progress import show_message, warn
from pipeline.storage.files import remove_tree, remove_tree_except, suppress_storage_errors
from pipeline.storage.places import Place
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.checkpoints import Snapshot
from pipeline.train.divergence import TrainingDiverged
from pipeline.train.early_parameters import round_to_halves
from pipeline.train.layer_statistics import LayerMeter
from pipeline.train.run_record import CHECKPOINTS_NAME, TENSORBOARD_NAME

Report: TypeAlias = Callable[[Progress, Parameters], object]


@dataclass
class TrainingMonitor:
    """Collect what one run reports; `report` and `chunk_done` are the callbacks of a `model.fitting.Listener`."""

    config: TrainingConfig
    start: Snapshot
    listeners: list[Report]  # also called with every report
    stop: Event  # once it is set, the run stops at the end of a chunk
    policy: CheckpointPolicy
    write: Callable[[Snapshot], None] | None  # writes a checkpoint; None if another process does
    meter: LayerMeter | None = None  # of the layers; None if another process measures them
    early_steps: Collection[int] = ()  # whose parameters are kept; a chunk ends at each

    def __post_init__(self) -> None:
        self.curve = list(self.start.curve)
        self.layers = list(self.start.layers)
        self.early = dict(self.start.early)
        self.agreements = list(self.start.agreements)  # one per chunk of a run in lockstep
        self.latest = self.start.standing  # the end of the last finished chunk
        self._saved = self.start.standing

    def report(self, point: Progress, parameters: Parameters) -> None:
        """Add a point to the learning curve; raises TrainingDiverged if its loss is infinite or NaN."""
        if point.step and not isfinite(point.loss):  # the loss at step 0 is NaN: no batch was seen yet
            raise TrainingDiverged.of(self.config, f"the loss is {point.loss} at step {point.step}")
        self.curve.append(point)
        if self.meter and self.meter.is_due(point.step):
            self.layers.extend(self.meter.measure(point.step, parameters))
        for listener in self.listeners:
            listener(point, parameters)

    def chunk_done(self, standing: Standing) -> None:
        """Note the end of a chunk and write a checkpoint if one is due; raises TrainingStopped if stop is set."""
        if isinstance(standing.state, Lockstep):
            self.agreements.append(agreement(standing.step, standing.state))
        if standing.step in self.early_steps:
            self._keep_early(standing)
        first_step = self.latest.step
        self.latest = standing
        seconds = standing.seconds - self._saved.seconds
        # After the last step the run is written instead.
        if standing.step < self.config.num_steps and self.policy.is_due(first_step, standing.step, seconds):
            self._save()
        if self.stop.is_set():
            raise TrainingStopped

    def _keep_early(self, standing: Standing) -> None:
        rounded = round_to_halves(standing.state.parameters)
        if rounded:
            self.early[standing.step] = rounded

    def save_last_chunk(self) -> None:
        """Write a checkpoint of the last finished chunk unless there is one, and say at which step the run resumes.

        If it cannot be written, this only warns, so that the error that ended the run is the one raised.
        """
        try:
            if self.latest.step > self._saved.step:
                self._save()
        except (BackbeamError, OSError, tf.errors.OpError) as problem:
            warn(f"train: warning: no checkpoint of step {self.latest.step} could be written: {problem}")
        if self.write and self._saved.step:
            step = self._saved.step
            show_message(
                f"train: seed {self.config.seed} has a checkpoint of step {step}: the same command continues from it"
            )

    def _save(self) -> None:
        if self.write:
            latest = self.latest
            # A run may stop between the report at the end of a chunk and the end of that chunk.
            curve = tuple(point for point in self.curve if point.step <= latest.step)
            agreements = tuple(row for row in self.agreements if row.step <= latest.step)
            layers = tuple(row for row in self.layers if row.step <= latest.step)
            self.write(Snapshot(latest, curve, agreements, layers, self.early))
            self._saved = latest


@contextmanager
def keep_resumable_on_failure(folder: Place, record: Place, monitor: TrainingMonitor) -> Iterator[None]:
    """Reduce the folder of a run that fails or is interrupted to its checkpoints and its TensorBoard log.

    A run that diverged is deleted: resumed, it would diverge again. Errors during cleanup are suppressed; the original
    error is raised. Once `record` exists, which is written last, the run is complete and left alone.
    """
    try:
        yield
    except BaseException as problem:
        with suppress_storage_errors():
            if not record.exists():
                has_diverged = isinstance(problem, TrainingDiverged)
                if not has_diverged:
                    monitor.save_last_chunk()
                if has_diverged or not any((folder / CHECKPOINTS_NAME).glob("*")):
                    remove_tree(folder)
                else:
                    remove_tree_except(folder, CHECKPOINTS_NAME, TENSORBOARD_NAME)
        raise
