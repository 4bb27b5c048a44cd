"""Inference in NumPy computes what the network of training does."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from model import inference
from model.functions import ACTIVATIONS, OUTPUTS
from model.inference import StoredLayer, build_inference, piece_rows
from model.network import build_network, forward, load_layers, scale

SIZES = (20, 8, 6, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (7, 20), np.uint8)


def draw_layers(scale_of_weights=1.0):
    random = np.random.default_rng(1)
    shapes = zip(SIZES[1:], SIZES[:-1], strict=True)
    drawn = [(random.normal(size=shape), random.normal(size=shape[0])) for shape in shapes]
    return [StoredLayer(*(np.float32(scale_of_weights * part) for part in layer)) for layer in drawn]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("output", "loss"), OUTPUTS)
@pytest.mark.parametrize("scale_of_weights", [1, 5])  # with 5 the outputs are as small as 1e-20
def test_values_outputs_and_losses_are_those_of_the_network(activation, output, loss, scale_of_weights):
    layers = draw_layers(scale_of_weights)
    found = build_inference(layers, activation, output, loss)
    network = build_network(activation, output, loss)
    (_, *expected_hidden), expected_z = forward(network, load_layers(layers), scale(IMAGES))
    targets = np.eye(3, dtype=np.float32)[np.arange(7) % 3]
    hidden, z = found.forward(IMAGES)
    for values, expected in zip([*hidden, z], [*expected_hidden, expected_z], strict=True):
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.output(z), network.output.value(z).numpy(), rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(found.loss(z, targets), network.output.loss(z, targets).numpy(), rtol=1e-5, atol=1e-12)
    assert found.output(z).dtype == found.loss(z, targets).dtype == np.float32


@pytest.mark.parametrize("output", inference.OUTPUTS)
def test_a_network_that_diverged_gives_no_warnings(output):
    layers = [StoredLayer(np.full((3, 20), np.inf, np.float32), np.array([0, -np.inf, np.nan], np.float32))]
    assert np.isnan(build_inference(layers, "relu", output, "quadratic").predict(IMAGES)).any()


def test_outputs_do_not_depend_on_the_number_of_processors():
    random = np.random.default_rng(3)
    layers = [StoredLayer(np.float32(random.normal(size=(30, 784))), np.zeros(30, np.float32))]
    network = build_inference(layers, "sigmoid", "sigmoid", "quadratic")
    images = random.integers(0, 256, (1000, 784), np.uint8)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            found.append(network.predict(images).tobytes())
    assert found[0] == found[1]


def count_blas_threads():
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


def test_the_number_of_threads_is_put_back_by_the_last_that_computes():
    with threadpool_limits(2, "blas"):
        first = inference.same_everywhere()
        second = inference.same_everywhere()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert count_blas_threads() == {1}
        second.__exit__(None, None, None)
        assert count_blas_threads() == {2}


def test_outputs_do_not_depend_on_the_pieces(monkeypatch):
    network = build_inference(draw_layers(), "sigmoid", "softmax", "quadratic")
    whole = network.predict(IMAGES)
    monkeypatch.setattr(inference, "PIECE_BYTES", 3 * sum(SIZES) * 4)
    assert [rows.stop - rows.start for rows in piece_rows(network.layers, 7)] == [3, 3, 1]
    np.testing.assert_allclose(network.predict(IMAGES), whole, rtol=1e-6)
    assert network.predict(IMAGES[:0]).shape == (0, 3)


def test_piece_has_an_example_even_if_that_exceeds_the_memory(monkeypatch):
    monkeypatch.setattr(inference, "PIECE_BYTES", 1)
    assert list(piece_rows(draw_layers(), 2)) == [slice(0, 1), slice(1, 2)]
