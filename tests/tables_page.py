"""Writes docs/tables.md from `pipeline.storage.schemas`: `python -m tests.tables_page`."""

from pathlib import Path

from pipeline.storage.schemas import ANSWERS, ORIGIN, REJECTED, SCHEMA_VERSION, TABLES, VALIDATION, Column, Table

PAGE = Path(__file__).parents[1] / "docs" / "tables.md"

HEAD = f"""# Tables

Made from `pipeline/storage/schemas.py` by `python -m tests.tables_page`; a test checks that it is current. Schema
version {SCHEMA_VERSION}.

A run's rows of a table are the files `reports/TABLE/run=RUN_ID/*.parquet` of a workspace, so a reader that knows Hive
partitions adds a column `run`. Files are compressed with zstd and carry a checksum on every page. In a file, each
column's description and unit are metadata of its Arrow field, and `backbeam.table` and `backbeam.schema_version` are
metadata of the file:

```python
import pyarrow.parquet as pq

schema = pq.read_schema("backbeam-workspace/reports/calibration/run=RUN_ID/calibration.parquet")
schema.field("confidence").metadata  # {{b'description': b"mean of the examples' largest outputs; ...", b'unit': ...}}
```

The tables only grow: a new run adds folders and touches no file of another. A run's rows of a table are written below
`.temporary/` and put in place whole, and its rows of `evaluations` come last, so a run that stands in `evaluations` is
whole in every table. In an object store, which renames no folders, files appear one by one, and
only that holds. A run that is trained or evaluated again, because its record was deleted, first leaves
`evaluations` and then the other tables. If a process is killed while it puts tables in place, some of that run may
stay, each table whole, without `evaluations`; the next evaluation of the run replaces them.

Columns hold no nulls except where the type says so. Numbers without a unit are names.

## Slices of your own

The table `slices` has the examples by `class`, by `ink` (mean pixel value, rounded down and cut into ten slices of
about as many examples, over all splits together; examples of equal ink stay together), by `confidence` (the bins of
`calibration`), and by `part`. A function adds a slicing:

```python
# my_slices.py
def thin(examples):
    return (examples.images > 127).sum(axis=(1, 2)) < 100
```

    PYTHONPATH=. backbeam run --slice thin=my_slices:thin

or, in a file for `--config`:

    [slices]
    thin = "my_slices:thin"

It is called with a `backbeam.slices.PredictedExamples` for a shard: `images` (uint8[n, height, width]), `labels`,
`indices` and `predicted` (int64[n]), `outputs` (float32[n, classes]), `confidence` (float32[n]), `part`. It returns a
boolean or a whole number for each example, at most 1,000 different ones in all, which become slices named by the number
(0 and 1 for booleans). For other names, or to put numbers together, `MODULE:NAME` may be a
`backbeam.slices.Slicing` with a second function `cut`. The module must be importable wherever Beam works. A
function that cannot be imported is exit code 2, one that fails or returns something else is 3, and the message names
it. The record of an evaluation says which slicings it has, by name and place; asking for others is exit code 2 and
says which file to delete to evaluate again. A function that changes under the same name is not noticed.

In Python, `pipeline.evaluate.beam_job.evaluate` takes a dictionary like `backbeam.slices.SLICINGS`.
"""


def page() -> str:
    """Return the page as it should be."""
    sections = [
        HEAD,
        _section("Origin: the first columns of every table of a run", Table("", ORIGIN)),
        *(_section(f"`{name}`", table) for name, table in TABLES.items()),
        _section("`validation`: reports/validation/dataset=DATASET_ID/validation.parquet", VALIDATION),
        _section("`answers`: registry/contests/DATASET_ID/RUN_ID/, what promotions compare", ANSWERS),
        _section("`rejected`: datasets/DATASET_ID/rejected.parquet, where there are any", REJECTED),
    ]
    return "\n".join(sections)


def _section(title: str, table: Table) -> str:
    about = [f"A row is {table.row}.", ""] if table.row else []
    lines = [_line(name, column) for name, column in table.columns.items()]
    return "\n".join([f"## {title}", "", *about, "| column | type | unit | meaning |", "|---|---|---|---|", *lines, ""])


def _line(name: str, column: Column) -> str:
    kind = str(column.kind).replace("element: ", "").replace("item: ", "")
    return f"| `{name}` | {kind}{' or null' if column.nullable else ''} | {column.unit} | {column.meaning} |"


if __name__ == "__main__":
    PAGE.write_text(page())
