"""Does a challenger become the champion? Pure: answers to the same test examples and a policy in, a decision out."""

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


class Contestant(NamedTuple):
    """A run and its answers to the test examples.

    Attributes:
        run_id: the run.
        predicted: int64[n], classes.
    """

    run_id: str
    predicted: Classes


class DecisionInputs(NamedTuple):
    """The test examples and what each run that matters answers.

    Attributes:
        labels: int64[n], classes; n > 0.
        class_names: of all classes.
        challenger: who wants to be the champion.
        champion: who is; None if there is none yet.
        reference: whom to compare with as well; None for nobody, or if it is the champion.
        objections: what speaks against the challenger whatever it answers, such as a check that its data do not pass.
    """

    labels: Classes
    class_names: tuple[str, ...]
    challenger: Contestant
    champion: Contestant | None
    reference: Contestant | None
    objections: tuple[str, ...] = ()


class CriterionResult(Record):
    """One thing that a decision looks at.

    Attributes:
        test: what is asked for: the policy's setting of that name, or better_than_guessing; or an objection.
        against: the run that the challenger is compared with, if it is with one.
        value: what was found.
        threshold: what the policy asks for.
        passed: whether that is given.
        text: the same in words.
    """

    test: Test
    against: str | None
    value: float
    threshold: float
    passed: bool
    text: str


class Decision(NamedTuple):
    """What becomes of a challenger.

    Attributes:
        promote: whether it becomes the champion.
        findings: everything that was looked at.
        num_examples: of the test split.
        num_correct: right answers, by run.
    """

    promote: bool
    findings: tuple[CriterionResult, ...]
    num_examples: int
    num_correct: dict[str, int]

    @property
    def reasons(self) -> tuple[str, ...]:
        """What speaks against a promotion or, if nothing does, for it; what compares runs comes first."""
        telling = [finding for finding in self.findings if finding.passed == self.promote]
        return tuple(finding.text for finding in sorted(telling, key=lambda each: each.against is None))


def decide(examination: DecisionInputs, policy: Policy) -> Decision:
    """Decide about a challenger.

    Nothing may speak against it beforehand. It must have the minimum accuracy and be better than to answer the most
    frequent class always (the lower end of the 95 % interval of its accuracy, by Wilson, is above that class's share).
    Compared with the champion, and with the reference where that is another run, it must gain what the policy asks for,
    beyond chance (McNemar's exact test of the examples that only one of the two has right), and lose no more than the
    policy allows in any class.

    Raises:
        ValueError: there are no examples, or not as many answers.
    """
    labels, _, challenger, champion, reference, objections = examination
    others = [each for each in (champion, reference) if each]
    if not len(labels) or any(len(each.predicted) != len(labels) for each in (challenger, *others)):
        raise ValueError(f"expected answers to {len(labels)} examples, at least one")
    findings = [*map(_objection, objections), *_alone(labels, challenger, policy)]
    for other in others:
        findings += _compared(examination, other, policy)
    promote = all(finding.passed for finding in findings)
    counts = {each.run_id: int((each.predicted == labels).sum()) for each in (challenger, *others)}
    return Decision(promote, tuple(findings), len(labels), counts)


def _objection(text: str) -> CriterionResult:
    return CriterionResult(test="objection", against=None, value=1, threshold=0, passed=False, text=text)


def _alone(labels: Classes, challenger: Contestant, policy: Policy) -> Iterator[CriterionResult]:
    num_correct = int((challenger.predicted == labels).sum())
    num_examples = len(labels)
    accuracy = num_correct / num_examples
    guessing = float(np.bincount(labels).max() / num_examples)
    if policy.minimum_accuracy:
        minimum = format_percent(policy.minimum_accuracy)
        yield CriterionResult(
            test="minimum_accuracy",
            against=None,
            value=accuracy,
            threshold=policy.minimum_accuracy,
            passed=accuracy >= policy.minimum_accuracy,
            text=f"its accuracy is {format_percent(accuracy)}, at least {minimum} asked for",
        )
    low = wilson(num_correct, num_examples).low
    better = low > guessing
    yield CriterionResult(
        test="better_than_guessing",
        against=None,
        value=low,
        threshold=guessing,
        passed=better,
        text=f"it is {'' if better else 'not '}better than to answer the most frequent class always: at least "
        f"{format_percent(low)} (95 %) against {format_percent(guessing)}",
    )


def _compared(examination: DecisionInputs, other: Contestant, policy: Policy) -> Iterator[CriterionResult]:
    """Compare the challenger with another run by all that the policy asks for."""
    labels = examination.labels
    ours, theirs = (each.predicted == labels for each in (examination.challenger, other))
    name = _role(examination, other)
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    # one quotient of counts: the difference of two, such as 0.925 - 0.92, may be below a threshold that it equals
    gain = (only_ours - only_theirs) / len(labels)
    yield CriterionResult(
        test="minimum_gain",
        against=other.run_id,
        value=gain,
        threshold=policy.minimum_gain,
        passed=gain >= policy.minimum_gain,
        text=f"it gains {_points(gain)} on {name}, at least {_points(policy.minimum_gain)} asked for",
    )
    if policy.significance < 1:
        yield _significance(only_ours, only_theirs, name, other.run_id, policy)
    yield _class_loss(examination, ours, theirs, name, other.run_id, policy)


def _significance(only_ours: int, only_theirs: int, name: str, against: str, policy: Policy) -> CriterionResult:
    p_value = mcnemar(only_theirs, only_ours)
    passed = only_ours > only_theirs and p_value <= policy.significance
    return CriterionResult(
        test="significance",
        against=against,
        value=p_value,
        threshold=policy.significance,
        passed=passed,
        text=f"{only_ours:,} examples only it has right, {only_theirs:,} only {name}: "
        f"{'a gain beyond chance' if passed else 'no gain beyond chance'} (exact McNemar test, p = {p_value:.2g}, "
        f"at most {policy.significance:g} asked for)",
    )


def _class_loss(
    examination: DecisionInputs,
    ours: npt.NDArray[np.bool_],
    theirs: npt.NDArray[np.bool_],
    name: str,
    against: str,
    policy: Policy,
) -> CriterionResult:
    """Look for the class whose recall falls the most; classes without examples have none."""
    labels, num_classes = examination.labels, len(examination.class_names)
    support = np.bincount(labels, minlength=num_classes)
    right = [np.bincount(labels[each], minlength=num_classes) for each in (ours, theirs)]
    losses = np.where(support > 0, (right[1] - right[0]) / np.maximum(support, 1), -np.inf)
    worst = int(losses.argmax())
    loss = float(losses[worst])
    passed = loss <= policy.largest_class_loss
    most = f"at most {_points(policy.largest_class_loss)} allowed"
    text = f"class {examination.class_names[worst]!r} loses {_points(loss)} of recall on {name}, {most}"
    return CriterionResult(
        test="largest_class_loss",
        against=against,
        value=loss,
        threshold=policy.largest_class_loss,
        passed=passed,
        text=text if loss > 0 else f"no class loses recall on {name}",
    )


def _role(examination: DecisionInputs, other: Contestant) -> str:
    return "the champion" if other is examination.champion else f"the reference {other.run_id}"


def _points(difference: float) -> str:
    return f"{100 * difference:.2f} points"
