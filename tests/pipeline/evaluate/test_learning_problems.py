"""Each reason why a run learned little, and none for a run that learned well."""

import shutil

import numpy as np
import pytest

from model.recipes import RECIPES, fit_to_data, override
from pipeline.context import StageContext, StageLog
from pipeline.evaluate.learning_evidence import find_learning_problems, sample_size
from pipeline.evaluate.learning_problems import LearningEvidence, blind_loss, find_problems, has_learned_little
from pipeline.evaluate.slices import SLICINGS
from pipeline.evaluate.stage import evaluate_stage
from pipeline.preprocess.dataset import find_dataset
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.stage import train_stage

TRAIN_COUNTS = np.array([1000, 1000, 1000])
GOOD = np.array([[90, 5, 5], [5, 90, 5], [5, 5, 90]])
POOR = np.array([[60, 20, 20], [20, 60, 20], [20, 30, 50]])  # better than one class, but not by half of the rest
ONE_CLASS = np.array([[100, 0, 0], [100, 0, 0], [100, 0, 0]])


def evidence(confusion=POOR, recipe="article-manual", final_loss=0.2, losses=(0.3, 0.25, 0.25), **others):
    settings = {name: others.pop(name) for name in [*others] if name not in LearningEvidence._fields}
    config = fit_to_data(override(RECIPES[recipe].config, **settings), 20, 3, 3000)
    steps = [1000 * (number + 1) for number in range(len(losses))]
    facts = {"train_counts": TRAIN_COUNTS, "class_names": ("cat", "dog", "owl")} | others
    return LearningEvidence(config, steps, losses, final_loss, confusion, **facts)


def kinds(found):
    return [problem.kind for problem in find_problems(found)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_run_that_learned_well_has_no_problem(recipe):
    """Even if the loss rose and all units are saturated: the published recipes' units are, at first."""
    units = [np.ones((100, 4), np.float32)]
    assert find_problems(evidence(GOOD, recipe, 9.9, (0.1, 0.5), hidden=units)) == []


def test_run_of_the_default_recipe_has_no_problem(first_run):
    assert first_run[1].json["learning_problems"] == []


def learned_little(confusion):
    return has_learned_little(int(np.trace(confusion)), confusion.sum(axis=1).tolist())


def test_little_is_less_than_half_of_what_one_class_leaves():
    assert not learned_little(GOOD)
    assert learned_little(np.array([[90, 0], [9, 1]]))  # 91 of 100, where 90 are of one class
    assert not learned_little(np.array([[90, 0], [5, 5]]))
    assert not learned_little(np.zeros((2, 2), int))


def test_classes_that_are_never_answered_are_named():
    confusion = np.array([[95, 5, 0], [5, 95, 0], [5, 5, 0]])
    [problem] = find_problems(evidence(confusion))
    assert problem.describe() == (
        "never answered: owl; try another start of training (--seed 2) or smaller starting weights (--start scaled)"
    )
    [rare] = find_problems(evidence(confusion, train_counts=np.array([1500, 1450, 50])))
    assert "(owl has only 50 of 3,000 train examples); add train examples" in rare.describe()


def test_answering_one_class_is_told_from_learning():
    found = find_problems(evidence(ONE_CLASS))
    assert [problem.kind for problem in found] == ["never-answered", "no-better-than-one-class"]
    assert "always answering cat, which is the class of 100 of 300 test examples; try another" in found[1].describe()
    assert "no-better-than-one-class" not in kinds(evidence(POOR))


def test_advice_of_reasons_replaces_that_of_symptoms():
    first, second, reason = find_problems(evidence(ONE_CLASS, final_loss=0.5))
    assert (first.advice, second.advice) == ("", "")
    assert reason.advice.endswith("try --weights-rate 0.5 --biases-rate 0.05")


def test_rising_loss_is_found():
    [problem] = find_problems(evidence(losses=(0.3, 0.2, 0.25)))
    assert problem.finding == "the loss rose from 0.2 at step 2,000 to 0.25 at step 3,000"
    assert kinds(evidence(losses=(0.3, 0.2, 0.23))) == []  # within chance


def test_loss_of_a_blind_network_is_a_rate_too_high():
    assert kinds(evidence(final_loss=0.33)) == ["rate-too-high"]
    assert kinds(evidence(final_loss=0.30)) == []
    [problem] = find_problems(evidence(final_loss=0.5, weights_rate=20.0, num_steps=50))
    assert problem.describe().endswith("too high: try --weights-rate 5 --biases-rate 0.5")


def test_rate_far_below_the_recipes_is_found():
    [problem] = find_problems(evidence(final_loss=1.0, weights_rate=0.5))
    assert problem.describe() == (
        "the learning rate, 0.5, is far below the recipe's, 5; try --weights-rate 5 --biases-rate 0.5"
    )
    assert kinds(evidence(final_loss=0.2, weights_rate=0.5)) == []  # it learned, so the rate is no reason


def test_short_training_is_found():
    assert kinds(evidence(num_steps=999)) == ["too-few-steps"]
    assert kinds(evidence(num_steps=1000)) == []
    [problem] = find_problems(evidence(recipe="modern", num_steps=20))  # 40 epochs are 938 steps
    assert problem.describe() == "training took 20 steps, and the recipe's takes 938; train longer, such as --epochs 40"


def test_loss_that_still_falls_is_found():
    [problem] = find_problems(evidence(losses=(0.3, 0.28, 0.25)))
    assert problem.advice == "train longer, such as --num-steps 30000"
    assert kinds(evidence(losses=(0.25,))) == kinds(evidence(losses=())) == []


def test_dead_units_are_found():
    values = np.zeros((100, 4), np.float32)
    values[7, :2] = 0.1
    found = evidence(recipe="modern", hidden=[values + 1, values], losses=())
    assert [problem.finding for problem in find_problems(found)] == [
        "2 of 4 units of hidden layer 2 are dead: they are 0 for each of 100 test examples"
    ]


@pytest.mark.parametrize(("activation", "low"), [("sigmoid", 0.0), ("tanh", -1.0)])
def test_saturated_units_are_found(activation, low):
    values = np.full((100, 3), 0.5, np.float32)
    values[:95, 0] = low
    values[:50, 1] = 1
    values[50:, 1] = low
    [problem] = find_problems(evidence(hidden=[values], activation=activation))
    assert problem.finding.startswith(f"2 of 3 units of hidden layer 1 are saturated: near an end of {activation}")
    assert problem.advice.endswith("or smaller starting weights (--start scaled)")


@pytest.mark.parametrize("recipe", ["article-manual", "nielsen-100", "modern"])
def test_blind_loss_is_the_lowest_of_constant_outputs(recipe):
    from model.functions import OUTPUTS

    counts = np.array([5, 3, 2, 0])
    config = RECIPES[recipe].config
    shares = np.array([0.5, 0.3, 0.2, 1e-7], np.float32)
    z = np.log(shares) if config.output == "softmax" else np.log(shares / (1 - shares))
    targets = np.eye(4, dtype=np.float32)[np.repeat(np.arange(4), counts)]
    losses = OUTPUTS[config.output, config.loss].loss(np.tile(z, (10, 1)), targets).numpy()
    assert blind_loss(config, counts) == pytest.approx(losses.mean(), abs=1e-5)


def test_sample_is_bounded():
    assert sample_size((784, 512, 512, 10)) == 1000
    assert 50 <= sample_size((784, 20_000, 5_000, 10)) < 1000
    assert sample_size((784, 2**24, 10)) == 0


@pytest.mark.thorough
def test_absurd_learning_rate_is_diagnosed(seeds_run, tmp_path):
    context = StageContext(shutil.copytree(seeds_run, tmp_path / "ws"), ())
    data = find_dataset(context.workspace, None)
    config = override(
        RECIPES["modern"].config, layers=(20, 8, 3), num_epochs=300.0, weights_rate=20.0, biases_rate=20.0
    )
    [run] = train_stage(context, data, [config], False, CheckpointPolicy(), StageLog(), ("absurd",))
    [evaluation] = evaluate_stage(context, data, [run], SLICINGS, StageLog())
    found = find_learning_problems(context.workspace, run, evaluation)
    assert run.name == "absurd"
    assert {"never-answered", "no-better-than-one-class", "dead-units"} <= {problem.kind for problem in found}
    assert "try a lower learning rate (--learning-rate 0.1)" in found[-1].advice
