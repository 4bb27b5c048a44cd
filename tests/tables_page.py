"""Writes the columns of docs/tables.md from `pipeline.storage.schemas`: `python -m tests.tables_page`."""

from pathlib import Path

from pipeline.storage.schemas import ANSWERS, ORIGIN, REJECTED, SCHEMA_VERSION, TABLES, VALIDATION, Column, Table

PAGE = Path(__file__).parents[1] / "docs" / "tables.md"

MARK = "<!-- below: written by python -m tests.tables_page -->\n"


def page() -> str:
    sections = [
        PAGE.read_text().partition(MARK)[0] + MARK,
        f"Schema version {SCHEMA_VERSION}.\n",
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
