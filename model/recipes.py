"""The configuration of a training run, and recipes: published configurations to start from."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model.errors import BadUsage
from model.synonyms import nearest

Step = Literal["manual", "autodiff", "compare"]
MOST = 2**31 - 1  # TensorFlow counts steps, and many sizes of a tensor, in int32
LayerSize = Annotated[int, Field(gt=0, le=2**24)]
Rate = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
MOST_SHOWN = 200  # characters of a refused value in a message


class WarmStart(BaseModel):
    """A model whose parameters training begins with.

    Attributes:
        run_id: the run that trained it.
        sha256: of the file of its parameters, in hexadecimal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._=-]*$", max_length=200)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class TrainingConfig(BaseModel):
    """Everything about a training run but its data set.

    Attributes:
        recipe: the name of the recipe it came from.
        step: how gradients are computed; compare trains by both in lockstep, and the manual network is the run's.
        layers: sizes from the inputs to the outputs, 2 to 100 of 1 to 16,777,216; a data set's own ends replace the
            recipe's.
        activation: the function of every hidden layer.
        output: the function of the last layer.
        loss: of one example; gradients are of its mean over the batch.
        start: how the starting parameters are drawn.
        batch_size: examples a step, 1 to 2^31 - 1.
        num_steps: updates in all, at most 2^31 - 1; 0 if num_epochs says so.
        num_epochs: passes over the train split, above 0 and at most 1e9; None if num_steps says so.
        weights_rate: learning rate of the weights, per mean gradient; above 0 and at most 1e9.
        biases_rate: learning rate of the biases, as weights_rate.
        schedule: how the rates change from the first step to the last.
        momentum: factor of the velocity of the step before, 0 to below 1.
        weight_decay: of the weights, per step and unit of rate: the loss has weight_decay / 2 sum(w^2) more;
            0 to 1e9.
        dropout: fraction of the values of every hidden layer that a step drops, 0 to below 1.
        window_mib: budget, in MiB, for the pixels of the examples that are shuffled together; a train split that is
            larger is read a window at a time, in another order than with another budget, and the next one is read
            ahead into as much memory again. With own_shards, each replica has its part of the budget, and reads a
            larger shard, or its share of it, at once. 1 to 2^30.
        seed: of the starting parameters, the order of examples and dropout; 0 to 2^31 - 1.
        precision: of the products of matrices on a GPU: float32, or tf32 (TensorFloat-32: factors rounded to 11 bits),
            which is faster and needs a GPU; float32 is omitted from the JSON.
        num_replicas: equal parts of a batch whose gradients are computed separately and added up in order, 1 to 1,024.
        own_shards: whether each of several replicas takes its part of a batch from shards of its own, others in each
            epoch, so that a worker process reads only those; true for several replicas unless it is given. If false,
            as in records of earlier versions, which lack it, every replica takes its part of one order of the split,
            and every worker process reads all shards. false is omitted from the JSON.
        stack: networks, each of a run of its own or a copy, that one program trains; 1 is omitted from the JSON.
        warm_start: the model whose parameters training begins with, with zero velocity; omitted from the JSON if they
            are drawn from the seed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Annotated[str, Field(max_length=200)]
    step: Step
    layers: tuple[LayerSize, ...] = Field(min_length=2, max_length=100)
    activation: Literal["sigmoid", "tanh", "relu"] = "sigmoid"
    output: Literal["sigmoid", "softmax"] = "sigmoid"
    loss: Literal["quadratic", "cross-entropy"] = "quadratic"
    start: Literal["truncated-normal", "normal", "scaled", "he"] = "truncated-normal"
    batch_size: Annotated[int, Field(gt=0, le=MOST)]
    num_steps: Annotated[int, Field(ge=0, le=MOST)] = 0
    num_epochs: Rate | None = None
    weights_rate: Rate
    biases_rate: Rate
    schedule: Literal["constant", "cosine"] = "constant"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = 0.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    window_mib: Annotated[int, Field(gt=0, le=2**30)] = 1024
    seed: Annotated[int, Field(ge=0, le=MOST)] = 1
    precision: Literal["float32", "tf32"] = Field("float32", exclude_if=lambda precision: precision == "float32")
    num_replicas: Annotated[int, Field(gt=0, le=1024)] = 1
    own_shards: bool = Field(False, exclude_if=lambda own_shards: not own_shards)
    stack: int = Field(1, gt=0, le=1024, exclude_if=lambda stack: stack == 1)
    warm_start: WarmStart | None = Field(None, exclude_if=lambda start: start is None)

    @model_validator(mode="after")
    def _has_one_length(self) -> Self:
        if bool(self.num_steps) == (self.num_epochs is not None):
            raise ValueError("give either num_steps or num_epochs")
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.batch_size % self.num_replicas:
            raise ValueError(f"num_replicas {self.num_replicas} does not divide batch_size {self.batch_size}")
        if self.dropout and not 0 < round(self.dropout * 2**16) < 2**16:
            raise ValueError(f"dropout {self.dropout} is not 0 and nearer to 0 or 1 than 1 / 65,536")
        if self.num_replicas > 1 and self.step == "compare":
            raise ValueError("the step compare works with one replica only")
        if self.own_shards and self.num_replicas == 1:
            raise ValueError("own_shards needs several replicas, and num_replicas is 1")
        if self.stack > 1 and (self.num_replicas > 1 or self.step == "compare"):
            raise ValueError(f"stack {self.stack} works with one replica, and with the steps manual and autodiff only")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the configuration."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()

    def check_start(self, layers: tuple[int, ...]) -> None:
        """Check that the network of the warm start has the layers of this configuration.

        Raises:
            BadUsage: it has other layers.
        """
        if self.warm_start and layers != self.layers:
            found, wanted = ("-".join(map(str, each)) for each in (layers, self.layers))
            told = f"needs its layers, {found}; those here are {wanted}"
            raise BadUsage(f"a warm start from {self.warm_start.run_id} {told}")


class Recipe(NamedTuple):
    """A configuration to start from, with its source and its results.

    Attributes:
        config: the configuration.
        source: where it was published.
        published: the result published there.
        measured: the result here on canonical MNIST: the median of `backbeam run --dataset mnist --recipe NAME
            --seeds 1-5`.
    """

    config: TrainingConfig
    source: str
    published: str
    measured: str


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
_ARTICLE_SOURCE = "Aloni, Back Propagation with TensorFlow, 2016"

# Nielsen, "Neural Networks and Deep Learning" (2015). His cost has lambda / 2n sum(w^2) more; n is his 50,000 train
# examples, so lambda = 5 is a weight decay of 5 / 50,000.
_NIELSEN = TrainingConfig(
    recipe="nielsen-30",
    step="manual",
    layers=(784, 30, 10),
    start="normal",
    batch_size=10,
    num_epochs=30,
    weights_rate=3.0,
    biases_rate=3.0,
)


def _variant(config: TrainingConfig, **changes: object) -> TrainingConfig:
    return config.model_copy(update=changes)


RECIPES = {
    recipe.config.recipe: recipe
    for recipe in (
        Recipe(
            _ARTICLE,
            f"{_ARTICLE_SOURCE}: its manual rule",
            "923 of the first 1,000 test digits",
            "925 of the first 1,000, 92.82 % of all",
        ),
        Recipe(
            _variant(_ARTICLE, recipe="article-autodiff", step="autodiff", weights_rate=2.0, biases_rate=2.0),
            f"{_ARTICLE_SOURCE}: its autodiff rule",
            "none",
            "911 of the first 1,000, 92.32 % of all",
        ),
        Recipe(_NIELSEN, "Nielsen, Neural Networks and Deep Learning, chapter 1", "95.42 % of all", "95.26 % of all"),
        Recipe(
            _variant(
                _NIELSEN,
                recipe="nielsen-100",
                layers=(784, 100, 10),
                loss="cross-entropy",
                start="scaled",
                num_epochs=60.0,
                weights_rate=0.5,
                biases_rate=0.5,
                weight_decay=5 / 50_000,
            ),
            "Nielsen, Neural Networks and Deep Learning, chapter 3",
            "98.04 % of all, on the best run",
            "97.82 % of all",
        ),
        Recipe(
            TrainingConfig(
                recipe="modern",
                step="manual",
                layers=(784, 512, 512, 10),
                activation="relu",
                output="softmax",
                loss="cross-entropy",
                start="he",
                batch_size=128,
                num_epochs=40.0,
                weights_rate=0.1,
                biases_rate=0.1,
                schedule="cosine",
                momentum=0.9,
                dropout=0.4,
            ),
            "what a network of this kind is trained with today, without convolution or augmentation",
            "none",
            "98.60 % of all",
        ),
    )
}


def find_recipe(name: str) -> Recipe:
    """Return the recipe of a name.

    Raises:
        BadUsage: there is none; the message names the nearest.
    """
    if name not in RECIPES:
        raise BadUsage(f"unknown recipe {shown(name)}{nearest(name, RECIPES)}; there are: {', '.join(RECIPES)}")
    return RECIPES[name]


def override(
    config: TrainingConfig, options: Mapping[str, str] = MappingProxyType({}), /, **changes: object
) -> TrainingConfig:
    """Return a configuration with some values replaced; None keeps a value.

    num_steps replaces num_epochs, and the other way round. With several replicas instead of one, each has its own
    shards, unless own_shards is given; with one instead of several, there is nothing to divide.

    Args:
        config: to change.
        options: by setting, the option of the command line that gave its new value; messages name it instead.
        changes: by setting, the new value.

    Raises:
        BadUsage: a value is not one that the configuration allows, or there is no such setting.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    check_names(given, TrainingConfig.model_fields, "no such setting")
    if "num_steps" in given and "num_epochs" not in given:
        given["num_epochs"] = None
    if "num_epochs" in given and "num_steps" not in given:
        given["num_steps"] = 0
    is_divided = given.get("num_replicas", config.num_replicas) != 1
    if is_divided != (config.num_replicas != 1):
        given.setdefault("own_shards", is_divided)
    try:
        return TrainingConfig.model_validate(config.model_dump() | given)
    except ValidationError as problem:
        raise BadUsage(_describe_refusal(problem, options)) from None


def _describe_refusal(problem: ValidationError, options: Mapping[str, str]) -> str:
    first = problem.errors()[0]
    message = str(first["msg"].removeprefix("Value error, "))
    if not first["loc"]:  # settings that do not fit together, which the message names
        for setting, option in options.items():
            message = re.sub(rf"\b(?<!-){setting}\b", option, message)
        return message if options else f"configuration: {message}"
    setting, *rest = map(str, first["loc"])
    found = "" if isinstance(first["input"], dict) else f", found {shown(first['input'])}"
    return f"{'.'.join([options.get(setting, setting), *rest])}: {message}{found}"


def fit_to_data(config: TrainingConfig, num_pixels: int, num_classes: int, num_examples: int) -> TrainingConfig:
    """Return the configuration with the data set's number of inputs and outputs, and its length in steps.

    Args:
        config: as a recipe or a user gives it.
        num_pixels: of an image.
        num_classes: of the data set.
        num_examples: in the train split.

    Raises:
        BadUsage: the layers are not the recipe's own and do not have the inputs and outputs of the data set, or
            num_epochs is more than MOST steps.
    """
    own = RECIPES[config.recipe].config.layers
    ends = (num_pixels, num_classes)
    if config.layers != own and (config.layers[0], config.layers[-1]) != ends:
        wanted = "-".join(map(str, config.layers))
        raise BadUsage(f"layers {wanted} do not fit the data set: it has {num_pixels} pixels and {num_classes} classes")
    num_steps = config.num_steps or _steps_of(config.num_epochs or 0.0, num_examples, config.batch_size)
    layers = (num_pixels, *config.layers[1:-1], num_classes)
    return config.model_copy(update={"layers": layers, "num_steps": num_steps, "num_epochs": None})


def _steps_of(num_epochs: float, num_examples: int, batch_size: int) -> int:
    """Return the number of steps of num_epochs; raises BadUsage if it is more than MOST."""
    num_steps = num_epochs * num_examples / batch_size  # infinite, if a float does not hold it
    if num_steps > MOST:
        raise BadUsage(
            f"num_epochs {num_epochs:g} of {num_examples:,} examples in batches of {batch_size:,} are {num_steps:.4g} "
            f"steps, and a run has at most {MOST:,}: give fewer epochs or a larger batch_size"
        )
    return max(1, round(num_steps))


def check_names(given: Iterable[str], known: Iterable[str], problem: str) -> None:
    """Check that names are known.

    Raises:
        BadUsage: one is not; the message is the problem, the name, the nearest known ones and all of them.
    """
    names = list(known)
    for name in given:
        if name not in names:
            raise BadUsage(f"{problem}: {shown(name)}{nearest(name, names)}; there are: {', '.join(names)}")


def shown(value: object) -> str:
    """Return a user's value for a message: quoted, and truncated if it is long."""
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."
