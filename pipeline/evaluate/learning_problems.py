"""Find out why a run learned little, from its learning curve, its answers and its hidden units. Pure functions."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from model.examples import Integers
from model.recipes import TrainingConfig
from pipeline.evaluate.metrics import wilson
from pipeline.train.run_settings import format_rates, recipe_of, suggest_lower_rate
from pipeline.train.unit_states import find_dead_units, find_saturated_units

LITTLE = 0.5  # of the examples that the most frequent class leaves: the published recipes get nine in ten of MNIST's
RISE = 1.2  # of the loss over its lowest: reports are means of 1,000 steps, which differ by a few percent by chance
STUCK = 0.95  # of the loss without looking at the image: what is lower has learned something from the images
STILL_FALLING = 0.95  # of the loss over that of the report before
SLOW_RATE = 0.1  # of the recipe's rate: a tenth of a rate that suits takes ten times the steps
HIGH_RATE = 2  # times the recipe's rate: then the rate is the likelier reason than the length of training
FEW_STEPS = 0.1  # of the recipe's steps
UNIT_SHARE = 0.5  # of a layer's units: fewer dead or saturated ones leave enough to learn with
NEVER_ANSWERED = "never-answered"  # the kind of a problem
RARE = 0.1  # of an equal share of the train examples

Floats: TypeAlias = npt.NDArray[np.float32]


class LearningEvidence(NamedTuple):
    """What is known of how a run learned."""

    config: TrainingConfig
    steps: Sequence[int]  # of the reports of the learning curve after step 0
    losses: Sequence[float]  # of these reports: the mean since the report before
    final_loss: float  # the mean over the train split after training
    confusion: Integers  # int64[classes, classes], test examples by label and by predicted class
    train_counts: Integers  # int64[classes], train examples of each class
    class_names: tuple[str, ...]
    hidden: Sequence[Floats] = ()  # float32[examples, units] for each hidden layer; none if they were not computed


class LearningProblem(NamedTuple):
    """A reason why a run learned little, or what it did not learn."""

    kind: str
    finding: str  # what was found, a clause with its figures
    advice: str  # what to try, with the options to give; empty if the problems after it say so

    def describe(self) -> str:
        """Return the finding and the advice as one sentence."""
        return f"{self.finding}; {self.advice}" if self.advice else self.finding


def has_learned_little(num_correct: int, class_counts: Sequence[int]) -> bool:
    """Return whether the answers are right for less than LITTLE of what answering the most frequent class leaves.

    `class_counts` has the test examples of each class. Without examples nothing is known, and the result is False.
    """
    num_examples = sum(class_counts)
    largest = max(class_counts, default=0)
    return num_examples > 0 and num_correct - largest < LITTLE * (num_examples - largest)


def find_problems(evidence: LearningEvidence) -> list[LearningProblem]:
    """Return what a run did not learn, and why if it learned little; nothing for one that learned well."""
    if not has_learned_little(int(np.trace(evidence.confusion)), evidence.confusion.sum(axis=1).tolist()):
        return list(_find_never_answered(evidence))
    reasons = [*_find_loss_problem(evidence), *_find_unit_problems(evidence)]
    symptoms = [*_find_never_answered(evidence), *_find_majority(evidence)]
    if reasons:  # their advice is the better one
        symptoms = [symptom._replace(advice="") for symptom in symptoms]
    return [*symptoms, *reasons]


def _find_never_answered(evidence: LearningEvidence) -> Iterator[LearningProblem]:
    answered = evidence.confusion.sum(axis=0)
    missing = np.flatnonzero((evidence.confusion.sum(axis=1) > 0) & (answered == 0)).tolist()
    if not missing:
        return
    finding = f"never answered: {', '.join(evidence.class_names[label] for label in missing)}"
    total = int(evidence.train_counts.sum())
    rare = [label for label in missing if evidence.train_counts[label] < RARE * total / len(evidence.class_names)]
    if rare:
        count = int(evidence.train_counts[rare[0]])
        yield LearningProblem(
            NEVER_ANSWERED,
            f"{finding} ({evidence.class_names[rare[0]]} has only {count:,} of {total:,} train examples)",
            "add train examples of these classes",
        )
    else:
        advice = f"try another start of training (--seed {evidence.config.seed + 1}){_advise_start(evidence.config)}"
        yield LearningProblem(NEVER_ANSWERED, finding, advice)


def _advise_start(config: TrainingConfig) -> str:
    return " or smaller starting weights (--start scaled)" if config.start in ("normal", "truncated-normal") else ""


def _find_majority(evidence: LearningEvidence) -> Iterator[LearningProblem]:
    """Yield a problem if the 95 % interval of the accuracy holds the share of the most frequent class, or is below."""
    num_examples = int(evidence.confusion.sum())
    counts = evidence.confusion.sum(axis=1)
    label = int(counts.argmax())
    share = counts[label] / num_examples
    num_correct = int(np.trace(evidence.confusion))
    if wilson(num_correct, num_examples).low <= share:
        yield LearningProblem(
            "no-better-than-one-class",
            f"no better than always answering {evidence.class_names[label]}, which is the class of {counts[label]:,} "
            f"of {num_examples:,} test examples",
            "try another recipe (`backbeam recipes` lists them)",
        )


def blind_loss(config: TrainingConfig, train_counts: Integers) -> float:
    """Return the lowest mean loss of a network that gives the same outputs for every example: the classes' shares.

    `train_counts` is as in `LearningEvidence`.
    """
    shares = train_counts[train_counts > 0] / train_counts.sum()
    if config.loss == "quadratic":
        return float((shares * (1 - shares)).sum() / 2)
    entropy = -(shares * np.log(shares)).sum()
    if config.output == "softmax":
        return float(entropy)
    others = 1 - shares[shares < 1]  # an output that is always 1 has no loss
    return float(entropy - (others * np.log(others)).sum())


def _find_loss_problem(evidence: LearningEvidence) -> Iterator[LearningProblem]:
    """Yield at most one problem of the learning rate or of the length of training."""
    config = evidence.config
    recipe = recipe_of(config)
    recipe_steps = recipe.num_steps or round((recipe.num_epochs or 0) * evidence.train_counts.sum() / recipe.batch_size)
    is_stuck = evidence.final_loss >= STUCK * blind_loss(config, evidence.train_counts)
    rate = config.weights_rate / recipe.weights_rate
    if evidence.losses and evidence.losses[-1] > RISE * min(evidence.losses):
        yield _describe_rise(evidence)
    elif is_stuck and rate <= SLOW_RATE:
        rates = format_rates(recipe.weights_rate, recipe.biases_rate)
        finding = f"the learning rate, {config.weights_rate:g}, is far below the recipe's, {recipe.weights_rate:g}"
        yield LearningProblem("rate-too-low", finding, f"try {rates}")
    elif is_stuck and rate >= HIGH_RATE:
        yield _describe_high_rate(evidence)
    elif config.num_steps < FEW_STEPS * recipe_steps:
        length = f"--epochs {recipe.num_epochs:g}" if recipe.num_epochs else f"--num-steps {recipe_steps}"
        finding = f"training took {config.num_steps:,} steps, and the recipe's takes {recipe_steps:,}"
        yield LearningProblem("too-few-steps", finding, f"train longer, such as {length}")
    elif is_stuck:
        yield _describe_high_rate(evidence)
    elif len(evidence.losses) > 1 and evidence.losses[-1] < STILL_FALLING * evidence.losses[-2]:
        yield LearningProblem(
            "still-falling",
            f"the loss still fell at the end, from {evidence.losses[-2]:.4g} to {evidence.losses[-1]:.4g}",
            f"train longer, such as --num-steps {3 * config.num_steps}",
        )


def _describe_rise(evidence: LearningEvidence) -> LearningProblem:
    lowest = int(np.argmin(evidence.losses))
    return LearningProblem(
        "loss-rising",
        f"the loss rose from {evidence.losses[lowest]:.4g} at step {evidence.steps[lowest]:,} to "
        f"{evidence.losses[-1]:.4g} at step {evidence.steps[-1]:,}",
        f"the learning rate may be too high: try {suggest_lower_rate(evidence.config)}",
    )


def _describe_high_rate(evidence: LearningEvidence) -> LearningProblem:
    blind = blind_loss(evidence.config, evidence.train_counts)
    return LearningProblem(
        "rate-too-high",
        f"the loss of the train examples is {evidence.final_loss:.4g} after training, and {blind:.4g} is that of a "
        "network with the same outputs for every example",
        f"the learning rate may be too high: try {suggest_lower_rate(evidence.config)}",
    )


def _find_unit_problems(evidence: LearningEvidence) -> Iterator[LearningProblem]:
    """Yield a problem for each hidden layer of which UNIT_SHARE of the units are dead or saturated."""
    config = evidence.config
    is_relu = config.activation == "relu"
    rate = suggest_lower_rate(config)
    for number, values in enumerate(evidence.hidden, 1):
        find_affected = find_dead_units if is_relu else find_saturated_units
        affected = find_affected(values, config.activation)
        if affected.sum() < UNIT_SHARE * len(affected):
            continue
        units = f"{affected.sum():,} of {len(affected):,} units of hidden layer {number}"
        if is_relu:
            finding = f"{units} are dead: they are 0 for each of {len(values):,} test examples"
            yield LearningProblem("dead-units", finding, f"try a lower learning rate ({rate}) or --activation tanh")
        else:
            finding = f"{units} are saturated: near an end of {config.activation} for nearly all test examples"
            advice = f"try a lower learning rate ({rate}){_advise_start(config)}"
            yield LearningProblem("saturated-units", finding, advice)
