import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save

from model.checkpoint import (
    decode_parameters,
    decode_tensors,
    encode_parameters,
    encode_tensors,
    name_parts,
    restore,
)
from model.errors import CorruptArtefact
from model.network import Layer, initialise
from model.recipes import RECIPES, override
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


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_rejected(data):
    with pytest.raises(CorruptArtefact):
        decode_parameters(data)


def truncated():
    return encode_parameters(PARAMETERS, {})[:-1]


def without_a_bias():
    return save({"layers.0.weights": np.zeros((2, 3), np.float32)})


def broken_chain():
    return encode_parameters((Layer(np.zeros((3, 2)), np.zeros(3)), Layer(np.zeros((2, 4)), np.zeros(2))), {})


def biases_of_another_size():
    return encode_parameters((Layer(np.zeros((3, 2)), np.zeros(4)),), {})


def biases_of_another_size_in_one_layer():
    layers = (Layer(np.zeros((3, 2)), np.zeros(3)), Layer(np.zeros((2, 3)), np.zeros(4)))
    return encode_parameters(layers, {})


def without_tensors():
    return encode_tensors({}, "{}")


def with_one_extra_tensor():
    return encode_tensors(named_parameters() | {"layers.2.scale": np.zeros(3, np.float32)}, "{}")


def with_two_extra_tensors():
    others = {"more": np.zeros(3, np.float32), "still more": np.zeros(3, np.float32)}
    return encode_tensors(named_parameters() | others, "{}")


def named_parameters():
    return decode_tensors(encode_parameters(PARAMETERS, {}), "p")


@pytest.mark.parametrize(
    "make",
    [
        truncated,
        without_a_bias,
        broken_chain,
        biases_of_another_size,
        biases_of_another_size_in_one_layer,
        without_tensors,
        with_one_extra_tensor,
        with_two_extra_tensors,
    ],
)
def test_file_without_a_network_is_rejected_by_name(make):
    with pytest.raises(CorruptArtefact, match=r"p\.safetensors"):
        decode_parameters(make(), "p.safetensors")


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


def missing(_):
    return None


def longer(part):
    return np.concatenate([np.ravel(part), np.ravel(part)])


def as_a_row(part):
    return part[np.newaxis]


def wider(part):
    return part.astype(np.float64)


@pytest.mark.parametrize("change", [missing, longer, as_a_row, wider])
@pytest.mark.parametrize("part", PARTS)
def test_state_with_a_missing_or_different_tensor_is_rejected(part, change):
    tensors = saved_state()
    changed = change(tensors.pop(part))
    with pytest.raises(CorruptArtefact, match=rf"c\.safetensors does not hold {part} as this run has it"):
        restore(STATE, tensors if changed is None else tensors | {part: changed}, "c.safetensors")


def test_array_in_column_order_survives_a_round_trip():
    values = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    back = decode_tensors(encode_tensors({"weights": values}, "about"), "it")
    np.testing.assert_array_equal(back["weights"], values)
