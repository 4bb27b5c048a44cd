import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save

from model.checkpoint import decode_parameters, encode_parameters
from model.errors import CorruptArtefact
from model.network import Layer, initialise

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


@pytest.mark.parametrize("make", [truncated, without_a_bias, broken_chain, biases_of_another_size])
def test_what_is_no_network_is_refused_by_name(make):
    with pytest.raises(CorruptArtefact, match=r"p\.safetensors"):
        decode_parameters(make(), "p.safetensors")
