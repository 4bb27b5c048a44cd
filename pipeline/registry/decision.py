"""Decide whether a challenger becomes the champion. Pure functions of answers to test examples and a policy."""

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.evaluate.metrics import wilson
from pipeline.evaluate.significance import mcnemar
from pipeline.progress import format_percent
from pipeline.registry.policy import Policy
from pipeline.storage.records import Record

Classes: TypeAlias = npt.NDArray[np.int64]
Test: TypeAlias = Literal[
    "objection", "minimum_accuracy", "better_than_guessing", "minimum_gain", "significance", "largest_class_loss"
]


class RunAnswers(NamedTuple):
    """A run and the classes that it predicts for the test examples, int64[n]."""

    run_id: str
    predicted: Classes


class DecisionInputs(NamedTuple):
    """The test examples and the answers of the runs to compare."""

    labels: Classes  # int64[n]; n > 0
    class_names: tuple[str, ...]
    challenger: RunAnswers
    champion: RunAnswers | None
    reference: RunAnswers | None  # a second run to compare with; None also if it is the champion
    objections: tuple[str, ...] = ()  # against the challenger besides its answers, such as a failed check of its data


class CriterionResult(Record):
    """The result of one criterion of a decision."""

    test: Test
    against: str | None  # the run that the challenger is compared with
    value: float  # measured
    threshold: float
    passed: bool
    text: str  # the result as a sentence


class Decision(NamedTuple):
    """Whether a challenger becomes the champion, the results of all criteria, and the correct answers of each run."""

    promote: bool
    findings: tuple[CriterionResult, ...]
    num_examples: int
    num_correct: dict[str, int]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Texts of the failed criteria or, if none failed, of all; comparisons with other runs come first."""
        decisive = [finding for finding in self.findings if finding.passed == self.promote]
        return tuple(finding.text for finding in sorted(decisive, key=lambda finding: finding.against is None))


def decide(inputs: DecisionInputs, policy: Policy) -> Decision:
    """Decide about a challenger. It is promoted if it meets every criterion.

    - There are no objections.
    - It has the minimum accuracy, and is better than predicting the most frequent class always: the lower end of the
      95 % Wilson interval of its accuracy is above the share of that class.
    - Its accuracy is above that of the champion, and of the reference, by the policy's minimum gain, and the gain is
      significant (McNemar's exact test of the examples that only one of the two answers correctly).
    - No class loses more recall than the policy allows, compared with the same runs.

    Raises ValueError if there are no examples, or another number of answers than examples.
    """
    labels = inputs.labels
    opponents = [run for run in (inputs.champion, inputs.reference) if run]
    runs = [inputs.challenger, *opponents]
    if not len(labels) or any(len(run.predicted) != len(labels) for run in runs):
        raise ValueError(f"expected answers to {len(labels)} examples, at least one")
    findings = [_result("objection", None, 1, 0, False, text) for text in inputs.objections]
    findings += _test_accuracy(labels, inputs.challenger, policy)
    for opponent in opponents:
        findings += _compare(inputs, opponent, policy)
    promote = all(finding.passed for finding in findings)
    num_correct = {run.run_id: int((run.predicted == labels).sum()) for run in runs}
    return Decision(promote, tuple(findings), len(labels), num_correct)


def _test_accuracy(labels: Classes, challenger: RunAnswers, policy: Policy) -> Iterator[CriterionResult]:
    num_correct = int((challenger.predicted == labels).sum())
    num_examples = len(labels)
    accuracy = num_correct / num_examples
    largest_share = float(np.bincount(labels).max() / num_examples)
    if policy.minimum_accuracy:
        minimum = format_percent(policy.minimum_accuracy)
        passed = accuracy >= policy.minimum_accuracy
        text = f"its accuracy is {format_percent(accuracy)}, at least {minimum} asked for"
        yield _result("minimum_accuracy", None, accuracy, policy.minimum_accuracy, passed, text)
    low = wilson(num_correct, num_examples).low
    better = low > largest_share
    text = (
        f"it is {'' if better else 'no '}better than always answering the most frequent class: at least "
        f"{format_percent(low)} (95 %) against {format_percent(largest_share)}"
    )
    yield _result("better_than_guessing", None, low, largest_share, better, text)


def _compare(inputs: DecisionInputs, opponent: RunAnswers, policy: Policy) -> Iterator[CriterionResult]:
    """Compare the challenger with the champion or the reference by each criterion of the policy."""
    labels = inputs.labels
    correct = inputs.challenger.predicted == labels
    opponent_correct = opponent.predicted == labels
    only_challenger = int((correct & ~opponent_correct).sum())
    only_opponent = int((opponent_correct & ~correct).sum())
    name = "the champion" if opponent is inputs.champion else f"the reference {opponent.run_id}"
    # a quotient of counts: the difference of two accuracies, such as 0.925 - 0.92, may be rounded below the threshold
    gain = (only_challenger - only_opponent) / len(labels)
    passed = gain >= policy.minimum_gain
    text = f"it gains {_points(gain)} on {name}, at least {_points(policy.minimum_gain)} asked for"
    yield _result("minimum_gain", opponent.run_id, gain, policy.minimum_gain, passed, text)
    if policy.significance < 1:
        p_value = mcnemar(only_opponent, only_challenger)
        passed = only_challenger > only_opponent and p_value <= policy.significance  # the test is two-sided
        text = (
            f"{only_challenger:,} examples only it has right, {only_opponent:,} only {name}: "
            f"{'a gain beyond chance' if passed else 'no gain beyond chance'} (exact McNemar test, p = {p_value:.2g}, "
            f"at most {policy.significance:g} asked for)"
        )
        yield _result("significance", opponent.run_id, p_value, policy.significance, passed, text)
    worst, loss = _largest_class_loss(inputs, opponent_correct.astype(np.float64) - correct)
    most = policy.largest_class_loss
    text = f"class {worst!r} loses {_points(loss)} of recall on {name}, at most {_points(most)} allowed"
    none = f"no class loses recall on {name}"
    yield _result("largest_class_loss", opponent.run_id, loss, most, loss <= most, text if loss > 0 else none)


def _result(
    test: Test, against: str | None, value: float, threshold: float, passed: bool, text: str
) -> CriterionResult:
    return CriterionResult(test=test, against=against, value=value, threshold=threshold, passed=passed, text=text)


def _largest_class_loss(inputs: DecisionInputs, lost: npt.NDArray[np.float64]) -> tuple[str, float]:
    """Return the class whose recall falls the most, and by how much.

    `lost` has 1 for an example that only the opponent answers correctly, -1 for one that only the challenger does.
    """
    num_classes = len(inputs.class_names)
    support = np.bincount(inputs.labels, minlength=num_classes)
    num_lost = np.bincount(inputs.labels, lost, num_classes)
    losses = np.where(support > 0, num_lost / np.maximum(support, 1), -np.inf)  # without examples there is no recall
    worst = int(losses.argmax())
    return inputs.class_names[worst], float(losses[worst])


def _points(difference: float) -> str:
    return f"{100 * difference:.2f} points"
