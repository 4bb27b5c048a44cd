"""Messages tf.train.Example as other writers have them, made without TensorFlow."""

import struct

import google_crc32c

from pipeline.sources.example_message import example_type
from pipeline.sources.tfrecord_format import mask_checksum


def example(image, label, names=("image/encoded", "image/class/label"), **more) -> bytes:
    """Serialize features: bytes, text, integers, floats, or lists of them."""
    message = example_type()()
    for name, value in {names[0]: image, names[1]: label, **more}.items():
        values = value if isinstance(value, list) else [value]
        values = [each.encode() if isinstance(each, str) else each for each in values]
        kinds = {bytes: "bytes_list", int: "int64_list", float: "float_list"}
        getattr(message.features.feature[name], kinds[type(values[0])]).value.extend(values)
    data: bytes = message.SerializeToString()
    return data


def frame(payload: bytes) -> bytes:
    """Return a TFRecord of a payload."""
    length = struct.pack("<Q", len(payload))
    checksums = [struct.pack("<I", mask_checksum(google_crc32c.value(part))) for part in (length, payload)]
    return length + checksums[0] + payload + checksums[1]
