import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from model.errors import CorruptArtefact
from model.examples import Examples, concatenate, decode, encode

INT64 = st.integers(0, 2**63 - 1)


@st.composite
def some_examples(draw):
    num_pixels = draw(st.integers(1, 300))
    pairs = draw(st.lists(st.tuples(INT64 | st.integers(0, 300), INT64 | st.integers(0, 9)), max_size=12))
    pixels = draw(st.binary(min_size=num_pixels * len(pairs), max_size=num_pixels * len(pairs)))
    indices, labels = np.array(pairs, np.int64).reshape(-1, 2).T
    return Examples(indices, np.frombuffer(pixels, np.uint8).reshape(-1, num_pixels), labels)


def by_protobuf(examples: Examples) -> list[bytes]:
    """The records as TensorFlow's own classes serialize them."""

    def integer(value):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    def image(row):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[row.tobytes()]))

    features = [
        tf.train.Features(feature={"image": image(row), "label": integer(label), "index": integer(index)})
        for index, row, label in zip(*(column for column in examples), strict=True)
    ]
    return [tf.train.Example(features=feature).SerializeToString(deterministic=True) for feature in features]


@given(some_examples())
def test_tensorflow_writes_the_same_file(tmp_path_factory, examples):
    path = tmp_path_factory.getbasetemp() / "tensorflow.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for payload in by_protobuf(examples):
            writer.write(payload)
    assert path.read_bytes() == encode(examples)  # checksums included


@given(some_examples())
def test_decode_reverses_encode(examples):
    for column, decoded in zip(examples, decode(encode(examples), examples.images.shape[1]), strict=True):
        np.testing.assert_array_equal(column, decoded)


@pytest.mark.parametrize("declared", [2**40, 2**63, 2**64 - 1, 17])
def test_record_with_a_length_beyond_the_file_is_rejected(declared):
    # TensorFlow's own reader crashes on these 15 bytes
    with pytest.raises(CorruptArtefact, match=r"x\.tfrecord: record 1 runs past the end"):
        decode(declared.to_bytes(8, "little") + b"1234567", 6, "x.tfrecord")


def test_image_of_another_size_is_rejected():
    examples = Examples(np.array([1]), np.zeros((1, 6), np.uint8), np.array([1]))
    with pytest.raises(CorruptArtefact, match="1 records are not an image of 5 bytes"):
        decode(encode(examples), 5)


def test_negative_numbers_are_rejected():
    with pytest.raises(ValueError, match="must not be negative"):
        encode(Examples(np.array([-1]), np.zeros((1, 6), np.uint8), np.array([1])))


def test_no_examples_encode_to_no_bytes():
    assert encode(concatenate([], 6)) == b""
    assert len(decode(b"", 6).labels) == 0


def test_encoding_does_not_import_tensorflow():
    code = "import sys, model.examples; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("index", "label"), [(b"\x05\x03", b"\x07"), (b"\x85\x83", b"\x07"), (b"\xac\x00", b"\x07"), (b"\xac\x02", b"\xff")]
)
def test_malformed_varints_are_rejected(index, label):
    data = encode(Examples(np.array([300]), np.zeros((1, 4), np.uint8), np.array([7])))
    parts = data.split(b"\xac\x02")
    assert len(parts) == 2
    damaged = parts[0] + index + parts[1]
    place = damaged.rindex(b"\x07", 0, -4)
    with pytest.raises(CorruptArtefact, match="1 records are not an image"):
        decode(damaged[:place] + label + damaged[place + 1 :], 4)


def test_record_with_any_other_constant_byte_is_rejected():
    """All bytes except pixels, varints and checksums are constant in the records of a layout.

    The second of three records is damaged, because records are compared with the layout all at once.
    """
    random = np.random.default_rng(3)
    images = random.integers(0, 256, (3, 5), np.uint8)
    examples = Examples(np.array([300, 301, 302]), images, np.array([1, 2, 3]))
    data = encode(examples)
    size = len(data) // 3
    payload = by_protobuf(examples)[1]
    values = [images[1].tobytes(), bytes([301 % 128 + 128, 301 // 128]), bytes([2])]
    slots = [payload.rindex(value) for value in values]
    free = {place for start, value in zip(slots, values, strict=True) for place in range(start, start + len(value))}
    framing = [*range(8), *(12 + place for place in range(len(payload)) if place not in free)]
    assert len(framing) == 8 + len(payload) - 8
    for place in framing:
        for change in (1, 0x80):
            damaged = bytearray(data)
            damaged[size + place] ^= change
            with pytest.raises(CorruptArtefact, match="p: "):
                decode(bytes(damaged), 5, "p")
