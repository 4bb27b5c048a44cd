"""A tiny run comes to what golden.json says; a change that is meant is written by `python -m tests.golden`."""

import json

import pyarrow as pa
import pytest

from tests.golden import ALL_SCHEMAS, PAGE, describe_rows, describe_workspace

KNOWN = json.loads(PAGE.read_text())


@pytest.fixture(scope="module")
def found(everything):
    return describe_workspace(everything / "ws")


@pytest.mark.parametrize("kind", ["manifests", "schemas"])
def test_manifests_and_schemas_are_as_known(kind, found):
    assert found[kind] == KNOWN[kind]


@pytest.mark.parametrize("name", ALL_SCHEMAS)
def test_rows_are_as_known(name, found):
    known = KNOWN["rows"][name]
    assert found["rows"][name].keys() == known.keys()
    for column, value in found["rows"][name].items():
        expected = pytest.approx(known[column], rel=1e-4, abs=1e-5) if isinstance(value, list) else known[column]
        assert value == expected, column


def test_any_change_to_rows_is_noticed():
    rows = {"label": [1, 2], "loss": [0.5, 0.25], "outputs": [[0.5], [0.75, 0.0]]}
    known = describe_rows(pa.table(rows))
    assert known["loss"] == [0.75, 0.25]
    for column, values in (("label", [2, 1]), ("loss", [0.25, 0.5]), ("outputs", [[0.75], [0.5, 0.0]])):
        found = describe_rows(pa.table(rows | {column: values}))
        assert [name for name in known if found[name] != known[name]] == [column]
    assert describe_rows(pa.table(rows).slice(1))["num_rows"] == 1
    assert "seconds" not in describe_rows(pa.table({"seconds": [1.0]}))
