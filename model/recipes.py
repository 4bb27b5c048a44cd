"""What a training run is: its configuration, and the published recipes to start from."""

import hashlib
import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.errors import BadUsage

Step = Literal["manual", "autodiff"]
Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TrainingConfig(BaseModel):
    """Everything about a training run but its data set.

    Attributes:
        recipe: the name of the recipe it came from.
        step: who works out the gradients.
        layers: sizes from the inputs to the outputs; a data set's own ends replace the recipe's.
        activation: the function of every layer.
        loss: of one example; gradients are of its mean over the batch.
        batch_size: examples a step.
        num_steps: updates in all.
        weights_rate: learning rate of the weights, per mean gradient.
        biases_rate: learning rate of the biases, per mean gradient.
        seed: of the starting parameters and of the order of examples.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    step: Step
    layers: tuple[Positive, ...] = Field(min_length=2)
    activation: Literal["sigmoid"] = "sigmoid"
    loss: Literal["quadratic"] = "quadratic"
    batch_size: Positive
    num_steps: Positive
    weights_rate: Rate
    biases_rate: Rate
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the configuration."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


# "Back Propagation with TensorFlow" (Dan Aloni, 2016): 784-30-10 sigmoid, truncated-normal start, batches of 10,
# 10,000 steps, 923 of the first 1,000 test digits right. Its two published rules are not the gradient of one loss. In
# terms of the gradient of the batch's mean of 1/2 |a - y|^2, at batches of 10:
#   - the manual rule sums the weights' gradient over the batch (10 times the mean) and averages the biases' (once), at
#     a rate of 0.5: rates 5.0 and 0.5;
#   - the autodiff rule descends the batch's sum of |a - y|^2 (20 times the mean of the halves), at a rate of 0.1: 2.0.
_ARTICLE = TrainingConfig(
    recipe="article-manual",
    step="manual",
    layers=(784, 30, 10),
    batch_size=10,
    num_steps=10_000,
    weights_rate=5.0,
    biases_rate=0.5,
)

RECIPES = {
    "article-manual": _ARTICLE,
    "article-autodiff": _ARTICLE.model_copy(
        update={"recipe": "article-autodiff", "step": "autodiff", "weights_rate": 2.0, "biases_rate": 2.0}
    ),
}


def find_recipe(name: str) -> TrainingConfig:
    """Return the recipe of a name.

    Raises:
        BadUsage: there is none.
    """
    if name not in RECIPES:
        raise BadUsage(f"unknown recipe {name!r}; there are: {', '.join(sorted(RECIPES))}")
    return RECIPES[name]


def override(config: TrainingConfig, **changes: object) -> TrainingConfig:
    """Return a configuration with some values replaced; None keeps what it was.

    Raises:
        BadUsage: a value is not one that the configuration allows.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return TrainingConfig.model_validate(config.model_dump() | given)
    except ValidationError as problem:
        first = problem.errors()[0]
        raise BadUsage(f"{'.'.join(map(str, first['loc']))}: {first['msg']}, found {first['input']!r}") from None


def fit_to_data(config: TrainingConfig, num_pixels: int, num_classes: int) -> TrainingConfig:
    """Return the configuration with the data set's number of inputs and outputs."""
    return config.model_copy(update={"layers": (num_pixels, *config.layers[1:-1], num_classes)})
