"""When to write the checkpoints of a run, and how many to keep."""

from dataclasses import dataclass

from model.errors import BadUsage

SAVE_SECONDS = 30.0  # the default interval: a killed process loses at most about this much training


@dataclass(frozen=True)
class CheckpointPolicy:
    """The checkpoint options of a run. They do not change what is trained."""

    every: int | None = None  # steps; 0: only when the run is interrupted, None: after SAVE_SECONDS of training
    keep: int = 2  # number of newest checkpoints

    def __post_init__(self) -> None:
        if self.every is not None and self.every < 0:
            raise BadUsage(f"--checkpoint-every is {self.every}, expected 0 or more steps")
        if self.keep < 1:
            raise BadUsage(f"--keep-checkpoints is {self.keep}, expected 1 or more")

    def is_due(self, first_step: int, last_step: int, seconds: float) -> bool:
        """Tell whether to write a checkpoint after a chunk of steps, `seconds` of training after the last one."""
        if self.every is None:
            return seconds >= SAVE_SECONDS
        return self.every > 0 and last_step // self.every > first_step // self.every
