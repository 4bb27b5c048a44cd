import numpy as np
import pytest
import tensorflow as tf

from model import functions, gradcheck, gradients
from model.recipes import RECIPES, override


@pytest.mark.parametrize(
    ("recipe", "layers"), [("article-manual", None), ("nielsen-100", None), ("modern", (784, 64, 48, 10))]
)
def test_every_parameter_of_every_layer_agrees(recipe, layers):
    config = override(RECIPES[recipe].config, layers=layers)
    found = gradcheck.check_gradients(config)
    assert [(a.layer, a.parameter) for a in found] == [
        (layer + 1, name) for layer in range(len(config.layers) - 1) for name in ("weights", "biases")
    ]
    assert [a.shape for a in found][:2] == [config.layers[1::-1], config.layers[1:2]]
    assert all(a.holds for a in found), found
    for a in found:
        size = a.shape[0] * (a.shape[1] if len(a.shape) > 1 else 1)
        assert a.num_checked + a.num_corners == min(100, size) + 5 * min(10, size)
    # zero biases and a black image put every hidden weighted input at the corner of its relu
    at_corners = [(1, "biases"), (2, "biases")] if recipe == "modern" else []
    assert [(a.layer, a.parameter) for a in found if a.num_corners] == at_corners


def test_a_wrong_equation_is_found(monkeypatch):
    def forgetful(network, parameters, x, y, masks=None):
        right = gradients.manual(network, parameters, x, y)
        first = right.layers[0]
        return right._replace(layers=(first._replace(weights=first.weights * 1.001), *right.layers[1:]))

    monkeypatch.setitem(gradients.STEPS, "manual", forgetful)
    config = override(RECIPES["article-manual"].config, layers=(20, 5, 3))
    assert [a.holds for a in gradcheck.check_gradients(config)] == [False, True, True, True]


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("wrong", ["manual", "autodiff"])
def test_a_gradient_that_is_wrong_in_one_case_only_is_found(number, wrong, monkeypatch):
    """Each case is one that the check needs: what is wrong there and right at the start is found."""
    monkeypatch.setattr(gradcheck, "MOST_CHECKED", 3)
    monkeypatch.setattr(gradcheck, "MOST_CHECKED_ELSEWHERE", 3)
    config = override(RECIPES["modern"].config, layers=(20, 6, 3), output="sigmoid")
    case = gradcheck.make_cases(config)[number]
    right = gradients.STEPS[wrong]

    def mistaken(network, parameters, x, y, masks=None):
        found = right(network, parameters, x, y, masks)
        is_case = all(
            np.array_equal(one, other)
            for one, other in zip(tf.nest.flatten((parameters, x, y)), tf.nest.flatten(case[:3]), strict=True)
        )
        last = found.layers[-1]
        return found._replace(layers=(*found.layers[:-1], last._replace(biases=last.biases + 0.01 * is_case)))

    monkeypatch.setitem(gradients.STEPS, wrong, mistaken)
    assert [a.holds for a in gradcheck.check_gradients(config)] == [True, True, True, False]


def test_the_sigmoid_cross_entropy_by_relu_and_abs_is_found(monkeypatch):
    """Its value is right, but automatic differentiation of it gives -y at 0."""

    def loss(z, y):
        return tf.reduce_sum(tf.nn.relu(z) - z * y + tf.math.log1p(tf.exp(-abs(z))), axis=1)

    names = "sigmoid", "cross-entropy"
    config = override(RECIPES["modern"].config, layers=(20, 6, 3), output="sigmoid")
    monkeypatch.setitem(functions.OUTPUTS, names, functions.OUTPUTS[names]._replace(loss=loss))
    assert not all(a.holds for a in gradcheck.check_gradients(config))


def test_dropout_is_checked_too(monkeypatch):
    def forgetful(network, parameters, x, y, masks=None):
        return gradients.autodiff(network, parameters, x, y)  # without what is dropped

    config = override(RECIPES["modern"].config, layers=(784, 12, 10))
    assert all(a.holds for a in gradcheck.check_gradients(config))
    monkeypatch.setitem(gradients.STEPS, "manual", forgetful)
    assert not all(a.holds for a in gradcheck.check_gradients(config))
