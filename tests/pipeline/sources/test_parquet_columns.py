import json

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model.errors import BadInput, BadUsage
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.parquet_columns import detect_columns, read_class_names

KINDS = {
    "pictures": pa.binary(),
    "nested": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    "integers": pa.int32(),
    "text": pa.string(),
    "numbers": pa.float64(),
}


@given(st.dictionaries(st.sampled_from(["image", "label", "a", "b", "c"]), st.sampled_from(sorted(KINDS))))
def test_detected_columns_fit_and_are_the_preferred_or_the_only_ones(columns):
    schema = pa.schema([(name, KINDS[kind]) for name, kind in columns.items()])
    images = [name for name, kind in columns.items() if kind in ("pictures", "nested")]
    integers = [name for name, kind in columns.items() if kind == "integers"]
    others = [name for name, kind in columns.items() if kind in ("text", "numbers")]
    labels = [name for name in (*integers, *others) if name == "label"] or integers or others
    is_unambiguous = ("image" in images or len(images) == 1) and ("label" in labels or len(labels) == 1)
    if not is_unambiguous:
        with pytest.raises(BadInput, match=r"^x\.parquet: .*--(image|label)-column; its columns"):
            detect_columns(schema, PictureOptions(), "x.parquet")
        return
    found = detect_columns(schema, PictureOptions(), "x.parquet")
    assert found.image == ("image" if "image" in images else images[0])
    assert found.label == ("label" if "label" in labels else labels[0])
    assert found.nested == (columns[found.image] == "nested")
    assert detect_columns(schema, PictureOptions(found.image, found.label), "x.parquet") == found


def test_requested_column_must_exist_and_fit():
    schema = pa.schema([("picture", pa.binary()), ("digit", pa.int64())])
    with pytest.raises(BadUsage, match=r"^x\.parquet: no column 'digit' of pictures .*; its columns: picture \(binary"):
        detect_columns(schema, PictureOptions("digit"), "x.parquet")


@given(st.binary(max_size=60))
@example(b"{")
@example(b'{"info": 3}')
@example(b'{"info": {"features": {"label": {"names": [1]}}}}')
@example(b'{"info": {"features": {"label": {"names": ["a", "a"]}}}}')
def test_damaged_metadata_is_rejected(metadata):
    schema = pa.schema([("label", pa.int64())], {"huggingface": metadata})
    try:
        assert json.loads(metadata).get("info", {}) == {}
    except (ValueError, AttributeError, AssertionError):
        with pytest.raises(BadInput, match=r"^x\.parquet: the metadata `huggingface` of its schema "):
            read_class_names(schema, "label", "x.parquet")
    else:
        assert read_class_names(schema, "label", "x.parquet") is None


@pytest.mark.parametrize(
    ("names", "kinds", "expected"),
    [
        (("image", "species", "__index_level_0__"), (pa.binary(), pa.string(), pa.int64()), "species"),
        (("image", "species", "id"), (pa.binary(), pa.string(), pa.int64()), "species"),
        (("Image", "Label", "Id"), (pa.binary(), pa.string(), pa.int64()), "Label"),
        (("Image", "id", "Digit"), (pa.binary(), pa.int64(), pa.int64()), "Digit"),
    ],
)
def test_columns_of_row_numbers_are_no_labels(names, kinds, expected):
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    assert detect_columns(schema, PictureOptions(), "x.parquet").label == expected
    assert detect_columns(schema, PictureOptions(names[0]), "x.parquet").image == names[0]


def test_column_of_row_numbers_is_the_label_where_it_is_named():
    schema = pa.schema([("image", pa.binary()), ("id", pa.int64())])
    with pytest.raises(BadInput, match=r"no column of labels .*--label-column"):
        detect_columns(schema, PictureOptions(), "x.parquet")
    assert detect_columns(schema, PictureOptions(label_column="id"), "x.parquet").label == "id"


def test_columns_of_pixels_are_found_beside_row_numbers_in_any_case():
    names = ("Label", "Id", *(f"p{number}" for number in range(20)))
    found = detect_columns(pa.schema([(name, pa.uint8()) for name in names]), PictureOptions(), "x.parquet")
    assert (found.label, found.pixels) == ("Label", names[2:])
