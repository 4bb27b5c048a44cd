"""Arrays and a text in a safetensors file."""

import subprocess
import sys

import numpy as np
import pytest

from model.errors import CorruptArtefact
from model.tensor_file import decode_about, decode_tensors, encode_tensors


def test_array_in_column_order_survives_a_round_trip():
    values = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    back = decode_tensors(encode_tensors({"weights": values}, "about"), "it")
    np.testing.assert_array_equal(back["weights"], values)


def test_the_text_survives_a_round_trip():
    data = encode_tensors({"weights": np.zeros(3)}, "about {}")
    assert decode_about(data, "it") == "about {}"
    for damaged in (b"", data[:20], data.replace(b"__metadata__", b"__metadatb__")):
        with pytest.raises(CorruptArtefact, match="it lacks the metadata 'backbeam'"):
            decode_about(damaged, "it")


def test_the_file_is_read_without_tensorflow():
    check = "import sys; import model.tensor_file; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
