"""Decisions about challengers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from pipeline.evaluate.metrics import wilson
from pipeline.registry.decision import Decision, DecisionInputs, RunAnswers, decide
from pipeline.registry.policy import Policy

NAMES = ("a", "b", "c", "d")
LABELS = np.arange(400) % 4


def answers(num_wrong: int, start: int = 0, label: int | None = None) -> np.ndarray:
    """Correct answers but for some consecutive examples, of one class if it is given."""
    places = np.flatnonzero(label == LABELS) if label is not None else np.arange(len(LABELS))
    predicted = LABELS.copy()
    wrong = places[start : start + num_wrong]
    predicted[wrong] = (LABELS[wrong] + 1) % 4
    return predicted


def decision_about(challenger, champion=None, reference=None, policy=None, objections=()) -> Decision:
    runs = [
        None if predicted is None else RunAnswers(name, predicted)
        for name, predicted in (("new", challenger), ("old", champion), ("best", reference))
    ]
    return decide(DecisionInputs(LABELS, NAMES, *runs, objections), policy or Policy())


def failed(decision: Decision) -> list[tuple[str, str | None]]:
    assert decision.promote == (not any(not finding.passed for finding in decision.findings))
    return [(finding.test, finding.against) for finding in decision.findings if not finding.passed]


def class_loss(decision):
    [finding] = [finding for finding in decision.findings if finding.test == "largest_class_loss"]
    return finding.value, finding.text


def test_first_champion_must_be_better_than_guessing():
    assert failed(decision_about(answers(100))) == []
    assert failed(decision_about(np.zeros(400, int))) == [("better_than_guessing", None)]
    barely_better = answers(290)  # 27.5 % of them correct, where guessing gives 25 %
    assert failed(decision_about(barely_better)) == [("better_than_guessing", None)]


def test_minimum_accuracy_of_the_policy_is_required():
    policy = Policy(minimum_accuracy=0.9)
    assert failed(decision_about(answers(40), policy=policy)) == []
    assert failed(decision_about(answers(41), policy=policy)) == [("minimum_accuracy", None)]


def test_only_a_significant_gain_promotes():
    assert failed(decision_about(answers(20), champion=answers(60))) == []
    assert failed(decision_about(answers(20), champion=answers(23))) == [("significance", "old")]
    assert failed(decision_about(answers(20), champion=answers(23), policy=Policy(significance=1))) == []


def test_equally_good_or_worse_challenger_is_not_promoted():
    equal = decision_about(answers(20), champion=answers(20))
    assert failed(equal) == [("significance", "old")]
    assert class_loss(equal) == (0, "no class loses recall on the champion")
    worse = failed(decision_about(answers(60), champion=answers(20)))  # a significant loss is no gain
    assert {("minimum_gain", "old"), ("significance", "old")} <= set(worse)


def test_loss_of_recall_of_a_class_is_limited():
    champion = answers(60, label=0)  # it has 60 errors in class a, and the challenger some in class c
    assert failed(decision_about(answers(5, label=2), champion=champion)) == []
    found = decision_about(answers(6, label=2), champion=champion)
    assert failed(found) == [("largest_class_loss", "old")]
    assert found.reasons == ("class 'c' loses 6.00 points of recall on the champion, at most 5.00 points allowed",)


def test_small_losses_do_not_add_up_because_of_the_reference():
    policy = Policy(minimum_gain=-0.02, significance=1, largest_class_loss=1)
    assert failed(decision_about(answers(28), champion=answers(20), policy=policy)) == []
    assert failed(decision_about(answers(36), champion=answers(28), policy=policy)) == []
    found = decision_about(answers(36), champion=answers(28), reference=answers(20), policy=policy)
    assert failed(found) == [("minimum_gain", "best")]
    assert "the reference best" in found.reasons[0]


def test_objection_prevents_promotion_of_a_perfect_challenger():
    found = decision_about(LABELS, champion=answers(60), objections=("its data are bad",))
    assert failed(found) == [("objection", None)]
    assert found.reasons == ("its data are bad",)
    assert (found.findings[0].value, found.findings[0].threshold) == (1, 0)


def test_inputs_without_examples_are_rejected():
    empty = np.zeros(0, int)
    with pytest.raises(ValueError, match="at least one"):
        decide(DecisionInputs(empty, NAMES, RunAnswers("new", empty), None, None), Policy())


classes = st.lists(st.integers(0, 3), min_size=400, max_size=400).map(np.array)


@settings(deadline=None, max_examples=50)
@given(classes, classes, st.floats(0.001, 1), st.floats(0, 1))
def test_every_promotion_meets_the_policy(challenger, champion, significance, largest_class_loss):
    policy = Policy(significance=significance, largest_class_loss=largest_class_loss)
    found = decision_about(challenger, champion=champion, policy=policy)
    correct = challenger == LABELS
    champion_correct = champion == LABELS
    only_challenger = int((correct & ~champion_correct).sum())
    only_champion = int((champion_correct & ~correct).sum())
    if found.promote:
        assert only_challenger >= only_champion
        if significance < 1:
            assert binomtest(only_challenger, only_challenger + only_champion, 0.5).pvalue <= significance
        for label in range(4):
            loss = champion_correct[label == LABELS].mean() - correct[label == LABELS].mean()
            assert loss <= largest_class_loss + 1e-6
    assert found == decision_about(challenger, champion=champion, policy=policy)
    swapped = decision_about(champion, champion=challenger, policy=policy)
    assert significance == 1 or not (found.promote and swapped.promote)


def test_reasons_that_compare_runs_come_first_in_order():
    policy = Policy(minimum_accuracy=0.9, minimum_gain=0.01, largest_class_loss=0.01)
    worse = np.zeros(400, int)
    found = decision_about(worse, champion=answers(40), reference=answers(20), policy=policy, objections=("one", "two"))
    assert [(finding.test, finding.against) for finding in found.findings] == [
        *(("objection", None), ("objection", None), ("minimum_accuracy", None), ("better_than_guessing", None)),
        *(("minimum_gain", "old"), ("significance", "old"), ("largest_class_loss", "old")),
        *(("minimum_gain", "best"), ("significance", "best"), ("largest_class_loss", "best")),
    ]
    texts = [finding.text for finding in found.findings]
    assert found.reasons == (*texts[4:], *texts[:4])


def test_reasons_for_a_promotion_are_all_findings():
    found = decision_about(answers(10), champion=answers(60), policy=Policy(minimum_accuracy=0.9))
    texts = [finding.text for finding in found.findings]
    assert found.promote
    assert found.reasons == (*texts[2:], *texts[:2])


@pytest.mark.parametrize("num_answers", [399, 401])
@pytest.mark.parametrize("role", ["challenger", "champion", "reference"])
def test_wrong_number_of_answers_is_rejected(role, num_answers):
    given = {name: answers(20) for name in ("challenger", "champion", "reference")}
    with pytest.raises(ValueError, match=r"^expected answers to 400 examples, at least one$"):
        decision_about(**given | {role: np.resize(LABELS, num_answers)})


def test_findings_give_values_and_thresholds():
    policy = Policy(minimum_accuracy=0.5, minimum_gain=0.01, significance=0.01, largest_class_loss=0.02)
    challenger, champion = answers(10, label=2), answers(60, label=0)
    found = {finding.test: finding for finding in decision_about(challenger, champion=champion, policy=policy).findings}
    values = {test: (finding.value, finding.threshold, finding.passed) for test, finding in found.items()}
    assert values == {
        "minimum_accuracy": (390 / 400, 0.5, True),
        "better_than_guessing": (wilson(390, 400).low, 0.25, True),
        "minimum_gain": (50 / 400, 0.01, True),
        "significance": (binomtest(10, 70).pvalue, 0.01, True),
        "largest_class_loss": (10 / 100, 0.02, False),
    }
    assert found["minimum_gain"].text == "it gains 12.50 points on the champion, at least 1.00 points asked for"
    assert found["significance"].text.startswith("60 examples only it has right, 10 only the champion: a gain beyond")


@pytest.mark.parametrize("num_more", [1, 2, 7, 30, 100])
def test_gain_or_loss_equal_to_its_threshold_passes(num_more):
    """A threshold of at most four decimal digits is rounded to the same float as the quotient of counts."""
    gain = Policy(minimum_gain=float(f"{num_more * 0.0025:.4f}"), significance=1, largest_class_loss=1)
    assert failed(decision_about(answers(100), champion=answers(100 + num_more), policy=gain)) == []
    assert failed(decision_about(answers(101), champion=answers(100 + num_more), policy=gain)) == [
        ("minimum_gain", "old")
    ]
    loss = Policy(significance=1, minimum_gain=-1, largest_class_loss=num_more / 100)
    assert failed(decision_about(answers(num_more, label=1), champion=LABELS, policy=loss)) == []


def test_largest_loss_is_of_a_class_with_examples():
    """Every class with examples gains, those of label 0 the least."""
    labels = np.array([0] * 100 + [1] * 100)
    worse = labels.copy()
    worse[[*range(10), *range(100, 130)]] = 3
    found = decide(DecisionInputs(labels, NAMES, RunAnswers("new", labels), RunAnswers("old", worse), None), Policy())
    assert class_loss(found) == (-0.1, "no class loses recall on the champion")
    assert found.promote
    assert found.num_correct == {"new": 200, "old": 160}
