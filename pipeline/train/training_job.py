"""What is to be trained: the job that the runs of a command share, and the attempt to train each run."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from model.recipes import TrainingConfig
from pipeline.preprocess.dataset import Dataset
from pipeline.storage.places import Place
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.checkpoints import SavedCheckpoint, find_newest_checkpoint
from pipeline.train.curve_points import choose_steps_per_measurement, choose_steps_per_point
from pipeline.train.early_parameters import choose_early_steps
from pipeline.train.run_record import RunRecord, run_id


@dataclass(frozen=True)
class TrainingJob:
    """What all runs of one command share."""

    workspace: Place
    dataset: Dataset
    tensorboard: bool
    checkpoint_policy: CheckpointPolicy
    like: RunRecord | None = None  # a record of the same run, to train with the chunks that it was trained with

    def spacing_of(self, config: TrainingConfig) -> int:
        """Return the steps from a point of the learning curve to the next."""
        return self.like.steps_per_point if self.like else choose_steps_per_point(config.num_steps)

    def measurement_spacing_of(self, config: TrainingConfig) -> int:
        """Return the steps from a measurement of the layers to the next."""
        return choose_steps_per_measurement(config.num_steps, self.spacing_of(config))

    def early_steps_of(self, config: TrainingConfig) -> tuple[int, ...]:
        """Return the early steps whose parameters a run keeps."""
        keeps_early = self.like is None or self.like.early_parameters is not None
        return choose_early_steps(config) if keeps_early else ()


class TrainingAttempt(NamedTuple):
    """A run to train, from the checkpoint `saved` or, if it is None, from step 0."""

    run_id: str
    config: TrainingConfig
    saved: SavedCheckpoint | None
    name: str | None = None  # that the user gave the run

    @property
    def first_step(self) -> int:
        """Updates done before the attempt."""
        return self.saved.record.step if self.saved else 0

    @property
    def resumed_at(self) -> tuple[int, ...]:
        """The steps at which the run was resumed, this attempt included."""
        return (*self.saved.record.resumed_at, self.saved.record.step) if self.saved else ()


def prepare_attempt(job: TrainingJob, config: TrainingConfig, name: str | None = None) -> TrainingAttempt:
    """Find the checkpoint that a run resumes from, without changing anything; raises as `find_newest_checkpoint`."""
    own_id = run_id(job.dataset.digest, config)
    return TrainingAttempt(own_id, config, find_newest_checkpoint(job.workspace / "runs" / own_id, config), name)


def group_attempts(attempts: Sequence[TrainingAttempt]) -> list[Sequence[TrainingAttempt]]:
    """Return the runs that are trained at once: all, or for each program of a stack those that fit it.

    The networks of a stack are at the same step, so runs that were stopped at different steps are trained apart.
    """
    stack = attempts[0].config.stack
    if stack == 1:
        return [attempts]
    in_order = sorted(attempts, key=attrgetter("first_step"))
    by_step = [list(group) for _, group in groupby(in_order, attrgetter("first_step"))]
    return [group[start : start + stack] for group in by_step for start in range(0, len(group), stack)]
