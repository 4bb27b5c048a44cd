import numpy as np
import pytest
import tensorflow as tf

from model import functions, gradcheck, gradients
from model.recipes import RECIPES, override
from pipeline.train.memory_check import GRADIENT_CHECK_EXAMPLES


@pytest.mark.parametrize(("recipe", "layers"), [("nielsen-100", (60, 30, 10)), ("modern", (60, 24, 18, 10))])
def test_gradients_of_every_parameter_of_every_layer_agree(recipe, layers):
    config = override(RECIPES[recipe].config, layers=layers)
    checks = gradcheck.check_gradients(config)
    assert [(a.layer, a.parameter) for a in checks] == [
        (layer + 1, name) for layer in range(len(config.layers) - 1) for name in ("weights", "biases")
    ]
    assert [a.shape for a in checks][:2] == [config.layers[1::-1], config.layers[1:2]]
    assert all(a.holds for a in checks), checks
    for a in checks:
        size = a.shape[0] * (a.shape[1] if len(a.shape) > 1 else 1)
        assert a.num_checked + a.num_corners == min(100, size) + 5 * min(10, size)
    # zero biases and a black image put every hidden weighted input at the corner of its relu
    at_corners = [(1, "biases"), (2, "biases")] if recipe == "modern" else []
    assert [(a.layer, a.parameter) for a in checks if a.num_corners] == at_corners


def test_memory_check_counts_the_examples_of_a_batch():
    assert gradcheck.BATCH_SIZE == GRADIENT_CHECK_EXAMPLES


def test_wrong_gradient_is_detected(monkeypatch):
    def scale_first_weights(network, parameters, x, y, masks=None):
        right = gradients.manual(network, parameters, x, y)
        first = right.layers[0]
        return right._replace(layers=(first._replace(weights=first.weights * 1.001), *right.layers[1:]))

    monkeypatch.setitem(gradients.STEPS, "manual", scale_first_weights)
    config = override(RECIPES["article-manual"].config, layers=(20, 5, 3))
    assert [a.holds for a in gradcheck.check_gradients(config)] == [False, True, True, True]


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("wrong", ["manual", "autodiff"])
def test_gradient_that_is_wrong_in_one_case_is_detected(number, wrong, monkeypatch):
    """Each case is needed: it detects a gradient that is right in all other cases."""
    monkeypatch.setattr(gradcheck, "MOST_CHECKED", 3)
    monkeypatch.setattr(gradcheck, "MOST_CHECKED_ELSEWHERE", 3)
    config = override(RECIPES["modern"].config, layers=(20, 6, 3), output="sigmoid")
    case = gradcheck.make_cases(config)[number]
    right = gradients.STEPS[wrong]

    def shift_biases_in_case(network, parameters, x, y, masks=None):
        result = right(network, parameters, x, y, masks)
        is_case = all(
            np.array_equal(part, expected)
            for part, expected in zip(tf.nest.flatten((parameters, x, y)), tf.nest.flatten(case[:3]), strict=True)
        )
        last = result.layers[-1]
        return result._replace(layers=(*result.layers[:-1], last._replace(biases=last.biases + 0.01 * is_case)))

    monkeypatch.setitem(gradients.STEPS, wrong, shift_biases_in_case)
    assert [a.holds for a in gradcheck.check_gradients(config)] == [True, True, True, False]


def test_sigmoid_cross_entropy_by_relu_and_abs_is_detected(monkeypatch):
    """The value is right, but its automatic derivative at 0 is -y."""

    def loss(z, y):
        return tf.reduce_sum(tf.nn.relu(z) - z * y + tf.math.log1p(tf.exp(-abs(z))), axis=1)

    names = "sigmoid", "cross-entropy"
    config = override(RECIPES["modern"].config, layers=(20, 6, 3), output="sigmoid")
    monkeypatch.setitem(functions.OUTPUTS, names, functions.OUTPUTS[names]._replace(loss=loss))
    assert not all(a.holds for a in gradcheck.check_gradients(config))


def test_gradients_without_dropout_masks_are_detected(monkeypatch):
    def ignore_masks(network, parameters, x, y, masks=None):
        return gradients.autodiff(network, parameters, x, y)

    config = override(RECIPES["modern"].config, layers=(60, 12, 10))
    monkeypatch.setitem(gradients.STEPS, "manual", ignore_masks)
    assert not all(a.holds for a in gradcheck.check_gradients(config))
