"""What a tiny run is known to come to: `python -m tests.golden` writes golden.json anew, beside this file.

Do so after a change that is meant to change a manifest, a schema or a table, and look at what git says of the file.

Whole numbers and texts are given by a digest of the column. Real numbers are not the same to the last bit on every
machine: of a column of them there are two sums, the second with weights that grow from row to row, so that rows that
change places are noticed; and a digest of its layout: where NaN, infinity and null are, and how long lists are. What
holds a time, or depends on the versions of libraries, is left out.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from pipeline.storage.tables import ANSWERS_SCHEMA, REJECTED_SCHEMA, SCHEMAS, VALIDATION_SCHEMA, read_table
from tests.helpers import build_everything

PAGE = Path(__file__).with_name("golden.json")
ALL_SCHEMAS = SCHEMAS | {"validation": VALIDATION_SCHEMA, "answers": ANSWERS_SCHEMA, "rejected": REJECTED_SCHEMA}

# where each table's rows are: of one run, of the group, of both data sets
PLACES = {name: f"reports/{name}/run=*-seed1-*/*.parquet" for name in SCHEMAS} | {
    "seeds": "reports/seeds/run=*/seeds.parquet",
    "validation": "reports/validation/dataset=*/validation.parquet",
    "answers": "registry/contests/*/*/*.parquet",
    "rejected": "datasets/digits-*/rejected.parquet",
}
# times, and digests of what has the versions of libraries in it (ids of runs, Parquet files) or trained parameters
VARYING = {"seconds", "run_id", "run_ids", "dataset_digest", "baseline_digest", "model_digest"}

Golden: TypeAlias = dict[str, dict[str, Any]]


def describe_workspace(workspace: Path) -> Golden:
    manifests = sorted(workspace.glob("datasets/*/manifest.json"))
    return {
        "manifests": {path.parent.name: _digest(_stable(json.loads(path.read_bytes()))) for path in manifests},
        "schemas": {name: _digest(_fields(schema)) for name, schema in ALL_SCHEMAS.items()},
        "rows": {name: describe_rows(_read(workspace, name)) for name in ALL_SCHEMAS},
    }


def describe_rows(table: pa.Table) -> dict[str, Any]:
    """Return a table's number of rows and, of each column, a digest, or two sums and a digest of its layout."""
    kept = {name: table[name] for name in table.column_names if name not in VARYING}
    columns = {
        name: _sums(column) if _is_real(column.type) else _digest(column.to_pylist()) for name, column in kept.items()
    }
    layouts = {
        f"{name} layout": _digest(_layout(column.to_pylist())) for name, column in kept.items() if _is_real(column.type)
    }
    return {"num_rows": table.num_rows} | columns | layouts


def _stable(manifest: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a manifest what the bytes of a Parquet file decide, in which is the version of its writer."""
    if manifest["rejected"]:
        del manifest["record_sha256"]
        manifest["rejected"] = manifest["rejected"]["name"]
    return manifest


def _fields(schema: pa.Schema) -> list[Any]:
    fields = [[field.name, str(field.type), field.nullable, _texts(field.metadata)] for field in schema]
    return [*fields, _texts(schema.metadata)]


def _texts(metadata: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in metadata.items()}


def _read(workspace: Path, name: str) -> pa.Table:
    return pa.concat_tables(read_table(path) for path in sorted(workspace.glob(PLACES[name])))


def _is_real(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind.value_type if pa.types.is_list(kind) else kind)


def _sums(column: pa.ChunkedArray) -> list[float]:
    """Return the sum of a column's numbers, and their sum with weights that rise from 0 to 1; NaN and null are 0."""
    values = np.array([0.0 if value is None else value for value in _numbers(column.to_pylist())])
    values = np.nan_to_num(values)
    return [round(float(total), 6) for total in (values.sum(), values @ np.linspace(0, 1, len(values)))]


def _layout(value: Any) -> Any:
    """Replace finite numbers by 0, so that only what sums do not show is left: NaN, infinity, null, and lists."""
    if isinstance(value, list):
        return [_layout(each) for each in value]
    return value if value is None or not np.isfinite(value) else 0


def _numbers(values: list[Any]) -> Iterator[float | None]:
    for value in values:
        yield from value if isinstance(value, list) else [value]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def write() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = describe_workspace(build_everything(Path(folder)) / "ws")
    PAGE.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    write()
