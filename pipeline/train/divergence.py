"""The error of a run that diverged, without TensorFlow: it can be pickled for a process that does not import it."""

from typing import Self

from model.errors import BadUsage
from model.recipes import TrainingConfig
from pipeline.train.run_settings import suggest_lower_rate


class TrainingDiverged(BadUsage):
    """The loss or a parameter of a run became infinite or NaN."""

    @classmethod
    def of(cls, config: TrainingConfig, problem: str) -> Self:
        """Return the error of a configuration, with rates that may do better."""
        rates = f"weights_rate {config.weights_rate:g} and biases_rate {config.biases_rate:g}"
        return cls(
            f"training with seed {config.seed} diverged: {problem}; lower {rates}, such as {suggest_lower_rate(config)}"
        )
