"""Reads the champion, the tables and the pages of a workspace until its standard input ends, and says what it found.

It stands for other programs: it knows the layout that docs/workspace.md describes and nothing of backbeam's code.
"""

import hashlib
import json
import select
import sys
from pathlib import Path
from typing import Any

import duckdb

TABLES = ("classes", "confusion", "slices", "calibration", "weights", "predictions", "learning_curve")


def read_champion(workspace: Path) -> str | None:
    """Return the champion's run, once all that the pointer names is there as it says."""
    try:
        text = (workspace / "registry" / "champion.json").read_bytes()
    except FileNotFoundError:
        return None
    champion = json.loads(text)
    parameters = champion["parameters"]
    data = (workspace / champion["folder"] / parameters["name"]).read_bytes()
    assert len(data) == parameters["num_bytes"]
    assert hashlib.sha256(data).hexdigest() == parameters["sha256"]
    entry = json.loads((workspace / "registry" / "history" / f"{champion['entry']:08d}.json").read_bytes())
    assert entry["champion"]["run_id"] == champion["run_id"]
    return str(champion["run_id"])


def read_tables(workspace: Path, known: set[str]) -> set[str]:
    """Return the runs that stand in `evaluations`, once each that is new is whole in every other table."""
    if not list((workspace / "reports").glob("evaluations/*/*.parquet")):
        return set()
    runs = {row[0] for row in _read("SELECT DISTINCT run_id FROM", f"{workspace}/reports/evaluations/*/*.parquet")}
    assert runs >= known, "a run has gone"
    for run in runs - known:
        for table in TABLES:
            assert _read("SELECT 1 FROM", f"{workspace}/reports/{table}/run={run}/*.parquet"), (table, run)
        [[told]] = _read("SELECT sum(num_examples) FROM", f"{workspace}/reports/evaluations/run={run}/*.parquet")
        [[there]] = _read("SELECT count(*) FROM", f"{workspace}/reports/predictions/run={run}/*.parquet")
        assert told == there, run
    return runs


def read_pages(workspace: Path) -> int:
    pages = [path for path in (workspace / "reports").glob("pages/*.html") if not path.name.startswith(".")]
    for path in pages:
        text = path.read_text()
        assert text.startswith("<!"), path
        assert text.rstrip().endswith("</html>"), path
    return len(pages)


def _read(what: str, files: str) -> list[tuple[Any, ...]]:
    return duckdb.execute(f"{what} read_parquet(?)", [files]).fetchall()


def watch(workspace: Path) -> dict[str, Any]:
    champions, runs, pages, rounds, problems = set[str](), set[str](), 0, 0, list[str]()
    while not select.select([sys.stdin], [], [], 0.01)[0]:
        try:
            champions |= {champion} if (champion := read_champion(workspace)) else set()
            runs = read_tables(workspace, runs)
            pages = max(pages, read_pages(workspace))
        except Exception as problem:
            problems.append(f"{type(problem).__name__}: {problem}")
        rounds += 1
    return {
        "rounds": rounds,
        "champions_seen": len(champions),
        "runs_seen": len(runs),
        "pages_seen": pages,
        "problems": problems[:5],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(watch(Path(sys.argv[1]))))
