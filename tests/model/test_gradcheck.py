import pytest

from model import gradcheck, gradients
from model.recipes import RECIPES, override


@pytest.mark.parametrize("recipe", ["article-manual", "nielsen-100", "modern"])
def test_every_parameter_of_every_layer_agrees(recipe):
    config = RECIPES[recipe].config
    found = gradcheck.check_gradients(config)
    assert [(a.layer, a.parameter) for a in found] == [
        (layer + 1, name) for layer in range(len(config.layers) - 1) for name in ("weights", "biases")
    ]
    assert [a.shape for a in found][:2] == [config.layers[1::-1], config.layers[1:2]]
    assert all(a.holds for a in found), found
    assert all(a.num_checked == min(100, a.shape[0] * (a.shape[1] if len(a.shape) > 1 else 1)) for a in found)


def test_a_wrong_equation_is_found(monkeypatch):
    def forgetful(network, parameters, x, y, masks=None):
        right = gradients.manual(network, parameters, x, y)
        first = right.layers[0]
        return right._replace(layers=(first._replace(weights=first.weights * 1.001), *right.layers[1:]))

    monkeypatch.setitem(gradients.STEPS, "manual", forgetful)
    config = override(RECIPES["article-manual"].config, layers=(20, 5, 3))
    assert [a.holds for a in gradcheck.check_gradients(config)] == [False, True, True, True]


def test_dropout_is_checked_too(monkeypatch):
    def forgetful(network, parameters, x, y, masks=None):
        return gradients.autodiff(network, parameters, x, y)  # without what is dropped

    config = override(RECIPES["modern"].config, layers=(784, 12, 10))
    assert all(a.holds for a in gradcheck.check_gradients(config))
    monkeypatch.setitem(gradients.STEPS, "manual", forgetful)
    assert not all(a.holds for a in gradcheck.check_gradients(config))
