import numpy as np
import pytest
import tensorflow as tf
from safetensors import safe_open
from safetensors.numpy import save

from model.checkpoint import decode_parameters, encode_parameters, name_parts, restore
from model.errors import CorruptArtefact
from model.network import Layer, initialise
from model.recipes import RECIPES, override
from model.tensor_file import decode_tensors, encode_tensors
from model.training import start_state

PARAMETERS = initialise((6, 4, 3), seed=1)


def test_parameters_survive_a_round_trip_and_encode_to_the_same_bytes():
    data = encode_parameters(PARAMETERS, {"b": 1, "a": "x"})
    assert data == encode_parameters(PARAMETERS, {"a": "x", "b": 1})
    for layer, decoded in zip(PARAMETERS, decode_parameters(data), strict=True):
        np.testing.assert_array_equal(layer.weights, decoded.weights)
        np.testing.assert_array_equal(layer.biases, decoded.biases)


def test_safetensors_reads_the_file(tmp_path):
    path = tmp_path / "p.safetensors"
    path.write_bytes(encode_parameters(PARAMETERS, {"run_id": "r"}))
    with safe_open(path, "np") as opened:
        assert sorted(opened.keys()) == ["layers.0.biases", "layers.0.weights", "layers.1.biases", "layers.1.weights"]
        assert opened.metadata() == {"backbeam": '{"run_id": "r"}'}


def network_of(*sizes):
    return tuple(Layer(np.zeros((outputs, inputs)), np.zeros(biases)) for inputs, outputs, biases in sizes)


NAMED = decode_tensors(encode_parameters(PARAMETERS, {}), "p")
EXTRA = np.zeros(3, np.float32)
NO_NETWORKS = {
    "truncated": encode_parameters(PARAMETERS, {})[:-1],
    "without a bias": save({"layers.0.weights": np.zeros((2, 3), np.float32)}),
    "broken chain": encode_parameters(network_of((2, 3, 3), (4, 2, 2)), {}),
    "biases of another size": encode_parameters(network_of((2, 3, 4)), {}),
    "biases of another size in one layer": encode_parameters(network_of((2, 3, 3), (3, 2, 4)), {}),
    "without tensors": encode_tensors({}, "{}"),
    "one extra tensor": encode_tensors(NAMED | {"layers.2.scale": EXTRA}, "{}"),
    "two extra tensors": encode_tensors(NAMED | {"more": EXTRA, "still more": EXTRA}, "{}"),
}


@pytest.mark.parametrize("name", NO_NETWORKS)
def test_file_without_a_network_is_rejected_by_name(name):
    with pytest.raises(CorruptArtefact, match=r"p\.safetensors"):
        decode_parameters(NO_NETWORKS[name], "p.safetensors")


STATE = start_state(override(RECIPES["modern"].config, layers=(6, 4, 3)))


def saved_state():
    return {name: np.asarray(part) for name, part in name_parts(STATE).items()}


def test_state_is_restored_and_other_tensors_are_ignored():
    moved = STATE._replace(step=tf.constant(7))
    tensors = {name: np.asarray(part) for name, part in name_parts(moved).items()} | {"losses.mean": np.zeros(2)}
    restored = restore(STATE, tensors, "c")
    assert list(name_parts(restored)) == list(name_parts(STATE))
    assert int(restored.step) == 7
    for part, expected in zip(tf.nest.flatten(restored), tf.nest.flatten(moved), strict=True):
        np.testing.assert_array_equal(part, expected)


PARTS = sorted(saved_state())


def test_names_of_the_tensors_of_a_state_are_pinned():
    """A version with other tensors must not resume checkpoints of this version."""
    layers = [f"{i}.{name}" for i in range(2) for name in ("biases", "weights")]
    assert [
        "state.dropout_key",
        *(f"state.parameters.{name}" for name in layers),
        "state.step",
        *(f"state.velocity.{name}" for name in layers),
    ] == PARTS


CHANGES = {
    "missing": lambda part: None,
    "longer": lambda part: np.concatenate([np.ravel(part), np.ravel(part)]),
    "as a row": lambda part: part[np.newaxis],
    "wider": lambda part: part.astype(np.float64),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("part", PARTS)
def test_state_with_a_missing_or_different_tensor_is_rejected(part, change):
    tensors = saved_state()
    changed = CHANGES[change](tensors.pop(part))
    with pytest.raises(CorruptArtefact, match=rf"c\.safetensors does not hold {part} as this run has it"):
        restore(STATE, tensors if changed is None else tensors | {part: changed}, "c.safetensors")
