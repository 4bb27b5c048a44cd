"""`backbeam runs`, `show` and `compare`, on real runs."""

import re
import shutil

import numpy as np
import pytest

from pipeline.evaluate.significance import compare_paired
from pipeline.evaluate.table_reader import read_rows
from tests.helpers import Digits, on_terminal, run_in_process


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace with two evaluated runs of a data set, and a run that is not evaluated."""
    folder = tmp_path_factory.mktemp("overview")
    digits = Digits(num_train=90, num_test=60).write(folder / "digits")
    steps = ("--workspace", folder / "ws", "--num-steps", 4)
    for command in (
        ("run", "--dataset", digits, "--seed", 1),
        ("run", "--dataset", digits, "--seed", 2),
        ("train", "--seed", 3),
    ):
        done = run_in_process(*command, *steps)
        assert done.code == 0, done.err
    return folder / "ws"


def test_runs_are_listed_newest_first(workspace):
    result = run_in_process("runs", "--workspace", workspace, "--json").json
    assert [run["config"]["seed"] for run in result["runs"]] == [3, 2, 1]
    assert [run["evaluation"] is None for run in result["runs"]] == [True, False, False]
    assert result["problems"] == []
    lines = run_in_process("runs", "--workspace", workspace).out.splitlines()
    assert lines[0] == f"test examples of {result['runs'][0]['dataset_id']}"
    assert [line.split()[0] for line in lines[2:]] == [run["run_id"] for run in result["runs"]]
    assert "not evaluated" in lines[2]


def test_table_is_drawn_on_terminal(workspace):
    printed = on_terminal("runs", "--workspace", workspace)
    assert "\x1b[1m" in printed
    assert "────" in printed
    assert "\x1b" not in run_in_process("runs", "--workspace", workspace).out


def test_corrupt_record_does_not_hide_other_runs(workspace, tmp_path):
    copy = shutil.copytree(workspace, tmp_path / "ws")
    record = next(copy.glob("runs/*seed2*/run.json"))
    record.write_bytes(record.read_bytes()[:-2])
    done = run_in_process("runs", "--workspace", copy)
    assert (done.code, done.out.count("article-manual-seed")) == (4, 2)
    assert str(record) in done.err


def test_workspace_without_runs_is_listed(tmp_path):
    (tmp_path / "ws" / "datasets").mkdir(parents=True)
    assert run_in_process("runs", "--workspace", tmp_path / "ws").out == "no runs yet: backbeam run\n"


def test_show_prints_classes_digests_and_settings(workspace):
    result = run_in_process("show", "article-manual-seed1", "--workspace", workspace, "--json").json
    test = [row for row in result["classes"] if row["split"] == "test"]
    assert sum(row["support"] for row in test) == 60
    assert {split["split"] for split in result["evaluation"]} == {"train", "test"}
    printed = run_in_process("show", "article-manual-seed1", "--workspace", workspace).out
    digests = (result["dataset_digest"], result["parameters"]["sha256"])
    assert all(text in printed for text in (result["run_id"], *digests, "classes of the test split"))
    assert re.search(r"^num_steps +4 +10000$", printed, re.MULTILINE)


def test_compare_counts_examples_that_only_one_run_predicts(workspace):
    names = ("article-manual-seed1", "article-manual-seed2")
    result = run_in_process("compare", *names, "--workspace", workspace, "--json").json
    correct = []
    for run in ("first", "second"):
        rows = read_rows(workspace, "predictions", result[run]["run_id"]).to_pandas()
        rows = rows[rows["split"] == "test"].sort_values("index")
        correct.append(np.array(rows["label"] == rows["predicted"]))
    assert result["test"] == pytest.approx(compare_paired(*correct)._asdict())
    assert result["test"]["only_first"] == int((correct[0] & ~correct[1]).sum())
    assert result["settings"] == {"seed": [1, 2]}
    text = run_in_process("compare", *names, "--workspace", workspace).out
    assert "exact McNemar test" in text
    assert re.search(r"^seed +1 +2$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nothing"], "'nothing' matches no run"),
        (["show", "article-manual-seed3"], "is not evaluated yet; `backbeam evaluate article-manual-seed3-"),
        (["compare", "article-manual-seed1", "article-manual-seed1"], "are the same run"),
    ],
)
def test_usage_errors(arguments, message, workspace):
    done = run_in_process(*arguments, "--workspace", workspace)
    assert done.code == 2
    assert message in " ".join(done.err.split())


def test_runs_with_different_test_examples_are_not_compared(workspace, tmp_path):
    copy = shutil.copytree(workspace, tmp_path / "ws")
    other = Digits(num_train=90, num_test=60, seed=9).write(tmp_path / "other")
    done = run_in_process(
        "run", "--workspace", copy, "--dataset", other, "--recipe", "article-autodiff", "--num-steps", 2
    )
    assert done.code == 0, done.err
    refused = run_in_process("compare", "article-manual-seed1", "article-autodiff", "--workspace", copy)
    assert refused.code == 3
    assert "were not evaluated on the same test examples" in refused.err


def test_quiet_and_log_file_redirect_messages(workspace, tmp_path):
    log = tmp_path / "log"
    done = run_in_process("evaluate", "article-manual-seed1", "--workspace", workspace, "--quiet", "--log-file", log)
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"\S+Z evaluate: already done, checking\n", log.read_text())
    failed = run_in_process("evaluate", "nothing", "--workspace", workspace, "-q", "--log-file", log)
    assert failed.code == 2
    assert "error: 'nothing' matches no run" in log.read_text()
