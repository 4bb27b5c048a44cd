import math

import numpy as np
import pytest

from model.batches import Plan, SplitReader, make_chunks
from model.errors import BadUsage
from model.examples import Examples
from model.network import initialise
from model.recipes import RECIPES, find_recipe, fit_to_data, override
from model.training import compile_chunk, fit, update
from tests.helpers import Digits


def examples():
    images, labels = Digits(num_train=90).split(0, 90)
    return Examples(np.arange(90), images.reshape(90, -1), labels.astype(np.int64))


def config(**changes):
    return override(fit_to_data(RECIPES["article-manual"], 20, 3), **({"num_steps": 120} | changes))


def train(settings, report_every=50):
    data, curve = examples(), []
    chunks = make_chunks(
        SplitReader((90,), 20, lambda _: data),
        Plan(settings.seed, settings.batch_size, settings.num_steps, report_every),
    )
    return fit(settings, chunks, data, curve.append, report_every), curve


def flat(parameters):
    return np.concatenate([np.ravel(part) for layer in parameters for part in layer])


@pytest.mark.parametrize("step", ["manual", "autodiff"])
def test_it_learns_and_reports(step):
    _, curve = train(config(step=step))
    assert [point.step for point in curve] == [0, 50, 100, 120]
    assert [point.examples_seen for point in curve] == [0, 500, 1000, 1200]
    assert math.isnan(curve[0].loss)
    assert curve[1].loss > curve[-1].loss
    assert curve[-1].num_correct == curve[-1].num_monitored == 90


def test_the_same_seed_gives_the_same_bits():
    first, second = (flat(train(config())[0]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, flat(train(config(seed=2))[0]))


def test_a_chunk_is_its_steps_one_by_one():
    settings, data = config(), examples()
    images, labels = data.images[:60].reshape(6, 10, 20), data.labels[:60].reshape(6, 10).astype(np.int32)
    together, mean_loss = compile_chunk(settings)(initialise(settings.layers, 1), images, labels)
    singly, losses = initialise(settings.layers, 1), []
    for x, y in zip(images, labels, strict=True):
        singly, loss = update(settings, singly, x, y)
        losses.append(loss)
    np.testing.assert_allclose(flat(together), flat(singly), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mean_loss, np.mean(losses), rtol=1e-5)


def test_the_rates_are_of_weights_and_of_biases():
    settings, data = config(weights_rate=1e-30, biases_rate=1.0), examples()
    before = initialise(settings.layers, 1)
    after, _ = update(settings, before, data.images[:10], data.labels[:10])
    np.testing.assert_array_equal(before[0].weights, after[0].weights)
    assert not np.array_equal(before[0].biases, after[0].biases)


def test_a_start_is_truncated_normal_and_its_layers_differ():
    weights = initialise((784, 784, 10), 1)[0].weights.numpy()
    assert abs(weights).max() <= 2
    assert abs(weights.mean()) < 0.01
    assert 0.86 < weights.std() < 0.9  # 0.8796 for a normal distribution cut at two standard deviations
    assert not np.array_equal(weights[:10], initialise((784, 784, 10), 2)[0].weights.numpy()[:10])


def test_recipes_are_data():
    assert find_recipe("article-manual").layers == (784, 30, 10)
    assert fit_to_data(RECIPES["article-manual"], 35, 26).layers == (35, 30, 26)
    assert override(RECIPES["article-manual"], seed=None) == RECIPES["article-manual"]
    assert config().digest != config(seed=2).digest


@pytest.mark.parametrize(
    ("changes", "message"), [({"step": "magic"}, "step"), ({"num_steps": 0}, "num_steps"), ({"seed": -1}, "seed")]
)
def test_a_bad_value_is_named(changes, message):
    with pytest.raises(BadUsage, match=message):
        config(**changes)


def test_an_unknown_recipe_is_named_with_those_there_are():
    with pytest.raises(BadUsage, match=r"'articel'; there are: article-autodiff, article-manual"):
        find_recipe("articel")
