"""When a run that is on its way is saved."""

from dataclasses import dataclass

SAVE_SECONDS = 30.0  # of training that a killed process may lose, where the user says nothing else


@dataclass(frozen=True)
class CheckpointPolicy:
    """What the user says of checkpoints; it does not change what is trained.

    Attributes:
        every: steps; 0 for only when a run is broken off, None for whenever SAVE_SECONDS have been trained.
        keep: how many checkpoints stay, the newest.
    """

    every: int | None = None
    keep: int = 2

    def is_due(self, earlier: int, step: int, seconds: float) -> bool:
        """Tell whether to save at the end of a chunk.

        Args:
            earlier: where the chunk began, in steps.
            step: where it ended.
            seconds: of training since the last checkpoint.
        """
        if self.every is None:
            return seconds >= SAVE_SECONDS
        return self.every > 0 and step // self.every > earlier // self.every
