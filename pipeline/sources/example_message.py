"""The message `tf.train.Example`, described to protobuf without TensorFlow."""

from functools import cache
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass


@cache
def example_type() -> Any:
    """Return the class of the message in tensorflow/core/example/{example,feature}.proto."""
    file = FileDescriptorProto(name="backbeam/example.proto", package="backbeam", syntax="proto3")
    kinds = FieldDescriptorProto
    for name, kind in (("BytesList", "TYPE_BYTES"), ("FloatList", "TYPE_FLOAT"), ("Int64List", "TYPE_INT64")):
        _add_field(file.message_type.add(name=name), "value", 1, kind, label=kinds.LABEL_REPEATED)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("BytesList", "FloatList", "Int64List"), 1):
        key = name.replace("List", "_list").lower()
        _add_field(feature, key, number, "TYPE_MESSAGE", type_name=f".backbeam.{name}", oneof_index=0)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    _add_field(entry, "key", 1, "TYPE_STRING")
    _add_field(entry, "value", 2, "TYPE_MESSAGE", type_name=".backbeam.Feature")
    entries = ".backbeam.Features.FeatureEntry"
    _add_field(features, "feature", 1, "TYPE_MESSAGE", type_name=entries, label=kinds.LABEL_REPEATED)
    example = file.message_type.add(name="Example")
    _add_field(example, "features", 1, "TYPE_MESSAGE", type_name=".backbeam.Features")
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("backbeam.Example"))


def _add_field(message: Any, name: str, number: int, kind: str, **options: Any) -> None:
    options.setdefault("label", FieldDescriptorProto.LABEL_OPTIONAL)
    message.field.add(name=name, number=number, type=getattr(FieldDescriptorProto, kind), **options)
