"""The questions of docs/queries.md, put to a workspace with two runs; and that the answers are right."""

import re
from pathlib import Path

import duckdb
import pandas as pd
import pytest

pytestmark = pytest.mark.thorough

BLOCKS = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "docs" / "queries.md").read_text(), re.DOTALL)


@pytest.fixture
def asked(two_runs, monkeypatch, capsys):
    """What the page's blocks leave behind, and the rows of each query, by its place among them."""
    monkeypatch.chdir(two_runs.parent)
    rows, ask = [], duckdb.sql

    def remembered(query):
        answer = ask(query)
        rows.append(answer.df())
        return answer

    monkeypatch.setattr(duckdb, "sql", remembered)
    names = {}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"block {number + 1} of docs/queries.md", "exec"), names)  # noqa: S102 - our own page
    return names, rows, capsys.readouterr().out


def test_the_answers(asked):
    names, rows, said = asked
    best, pairs, mistaken, worst, layers, shared, dead, parts, agreement = rows
    predictions = names["by_pandas"].query("split == 'test'")
    right = predictions.assign(is_right=predictions["label"] == predictions["predicted"]).astype({"run": str})
    table = right.pivot_table(index="index", columns="run", values="is_right").astype(bool)
    assert best["run_id"].tolist() == table.mean().sort_values(ascending=False).index.tolist()
    assert best["accuracy"].tolist() == pytest.approx(table.mean().sort_values(ascending=False).tolist())
    one, other = (table[name] for name in sorted(table))
    assert pairs.iloc[0].tolist() == [*sorted(table), 1000, (one & ~other).sum(), (other & ~one).sum()]
    assert len(pairs) == 1
    comparison = names["comparison"]
    assert (comparison.only_first, comparison.only_second) == tuple(pairs.iloc[0, -2:])
    errors = predictions[predictions["label"] != predictions["predicted"]]
    assert mistaken["count"].iloc[0] == errors.groupby(["run_id", "label", "predicted"]).size().max()
    assert mistaken["share"].iloc[0] == mistaken["count"].iloc[0] / 100  # each class has 100 examples
    assert worst["accuracy_high"].is_monotonic_increasing
    assert (worst["accuracy"] <= worst["accuracy_high"]).all()
    assert set(shared["index"]) <= set(table.index[~one & ~other])
    assert layers["step"].tolist() == [0, 2000, 4000, 6000, 8000, 10_000] * 4
    assert (layers["largest_gradient"] > 0).all()
    assert len(shared) == min(10, (~one & ~other).sum()) > 0
    assert (dead["num_units"].tolist(), len(dead)) == ([30, 10] * 2, 4)
    assert parts["num_examples"].tolist() == [1000, 1000]
    assert agreement["step"].tolist() == [10_000, 10_000]
    assert (agreement["largest_difference"] < 1e-12).all()
    evaluations = pd.read_parquet("backbeam-workspace/reports/evaluations").query("split == 'test'")
    ours = evaluations.set_index("run_id")["ece"].sort_index()
    pd.testing.assert_series_equal(names["error"].sort_index(), ours, check_names=False, check_dtype=False)
    assert names["curve"]["share"].between(0, 1).all()
    assert "McNemar's p is" in said
    assert "precision" in said
