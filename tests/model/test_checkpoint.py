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


def test_round_trip_and_same_bytes():
    data = encode_parameters(PARAMETERS, {"b": 1, "a": "x"})
    assert data == encode_parameters(PARAMETERS, {"a": "x", "b": 1})
    for ours, theirs in zip(PARAMETERS, decode_parameters(data), strict=True):
        np.testing.assert_array_equal(ours.weights, theirs.weights)
        np.testing.assert_array_equal(ours.biases, theirs.biases)


def test_other_programs_read_it(tmp_path):
    path = tmp_path / "p.safetensors"
    path.write_bytes(encode_parameters(PARAMETERS, {"run_id": "r"}))
    with safe_open(path, "np") as opened:
        assert sorted(opened.keys()) == ["layers.0.biases", "layers.0.weights", "layers.1.biases", "layers.1.weights"]
        assert opened.metadata() == {"backbeam": '{"run_id": "r"}'}


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(data):
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


def without_tensors():
    return encode_tensors({}, "{}")


def with_a_tensor_too_many():
    return encode_tensors(named_parameters() | {"layers.2.scale": np.zeros(3, np.float32)}, "{}")


def with_two_tensors_too_many():
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
        without_tensors,
        with_a_tensor_too_many,
        with_two_tensors_too_many,
    ],
)
def test_what_is_no_network_is_refused_by_name(make):
    with pytest.raises(CorruptArtefact, match=r"p\.safetensors"):
        decode_parameters(make(), "p.safetensors")


STATE = start_state(override(RECIPES["modern"].config, layers=(6, 4, 3)))


def saved_state():
    return {name: np.asarray(part) for name, part in name_parts(STATE).items()}


def test_a_state_is_restored_where_it_was_and_other_tensors_are_left_aside():
    moved = STATE._replace(step=tf.constant(7))
    tensors = {name: np.asarray(part) for name, part in name_parts(moved).items()} | {"losses.mean": np.zeros(2)}
    found = restore(STATE, tensors, "c")
    assert list(name_parts(found)) == list(name_parts(STATE))
    assert int(found.step) == 7
    for ours, theirs in zip(tf.nest.flatten(found), tf.nest.flatten(moved), strict=True):
        np.testing.assert_array_equal(ours, theirs)


PARTS = sorted(saved_state())


def test_the_parts_of_a_state_are_known():
    """Other parts than these are those of another version, whose checkpoints this one must not go on from."""
    layers = [f"{i}.{name}" for i in range(2) for name in ("biases", "weights")]
    assert [
        "state.dropout_key",
        *(f"state.parameters.{each}" for each in layers),
        "state.step",
        *(f"state.velocity.{each}" for each in layers),
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
def test_a_state_of_which_a_part_is_missing_or_another_is_refused(part, change):
    tensors = saved_state()
    changed = change(tensors.pop(part))
    with pytest.raises(CorruptArtefact, match=rf"c\.safetensors does not hold {part} as this run has it"):
        restore(STATE, tensors if changed is None else tensors | {part: changed}, "c.safetensors")


def test_an_array_whose_columns_lie_together_comes_back_as_it_was():
    values = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    back = decode_tensors(encode_tensors({"weights": values}, "about"), "it")
    np.testing.assert_array_equal(back["weights"], values)
