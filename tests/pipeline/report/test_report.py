"""The command `backbeam report`: the choice of runs, the comparison of several, the target, and errors."""

import json
import os
import shutil

import pytest

from pipeline.evaluate.evaluation_record import EVALUATION_NAME
from pipeline.evaluate.significance import compare_paired
from pipeline.evaluate.table_reader import read_paired_outcomes
from pipeline.report.report import write_report
from pipeline.train.run_lookup import find_model
from pipeline.train.run_names import rename_run
from tests.damage import damage
from tests.helpers import Digits, contents, run_in_process
from tests.pages import read_page


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A workspace with two small runs of the same data."""
    folder = tmp_path_factory.mktemp("two")
    source = Digits(num_test=90, num_train=90, height=4, num_classes=4).write(folder / "digits")
    runs = []
    for changes in (("--num-steps", "60"), ("--num-steps", "9", "--step", "compare", "--layers", "16,6,5,4")):
        done = run_in_process("run", "--workspace", folder / "ws", "--dataset", source, "--json", *changes)
        assert done.code == 0, done.err
        runs.append(done.json["run_id"])
    return folder / "ws", runs


@pytest.fixture
def workspace(two, tmp_path):
    """A copy to change."""
    return shutil.copytree(two[0], tmp_path / "ws")


def report(workspace, *arguments):
    return run_in_process("report", "--workspace", workspace, *arguments)


def test_each_further_run_is_compared_with_the_first(two):
    workspace, (first, second) = two
    done = report(workspace, first, second, "--json")
    assert done.code == 0, done.err
    expected = compare_paired(*read_paired_outcomes(workspace, first, second, "test"))
    one, other = done.json["runs"]
    assert (one["run_id"], other["run_id"]) == (first, second)
    assert one["against_first"] is None
    assert other["against_first"] == expected._asdict()
    assert expected.only_first > expected.only_second
    page = read_page(done.json["path"])
    low = 100 * expected.difference_low
    high = 100 * expected.difference_high
    assert page.rows("against")[1] == [
        second,
        f"{100 * expected.difference:+.2f}",
        f"{low:+.2f} to {high:+.2f}",
        str(expected.only_first),
        str(expected.only_second),
        f"{expected.p_value:.3g}",
        "worse, at the level of 5 %" if expected.p_value < 0.05 else "no difference beyond chance",
    ]
    for row, figures in zip(page.rows("figures")[1:], done.json["runs"], strict=True):
        assert row[:3] == [figures["run_id"], str(figures["num_correct"]), f"{100 * figures['accuracy']:.2f} %"]
    settings = {row[0]: row[1:] for row in page.rows("settings")[1:]}
    assert settings["step"] == ["manual", "compare"]
    assert set(settings) == {"step", "layers", "num_steps"}


def test_the_evaluated_run_that_was_trained_last_is_the_default(two, workspace):
    first, last = two[1]
    times = [json.loads((workspace / "runs" / run_id / "run.json").read_text())["finished"] for run_id in two[1]]
    assert times[0] < times[1]
    default = report(workspace, "--json").json
    assert [run["run_id"] for run in default["runs"]] == [last]
    assert "drift of the two networks" in read_page(default["path"]).by_id("agreement")["text"]  # it is in lockstep
    (workspace / "runs" / last / EVALUATION_NAME).unlink()
    assert [run["run_id"] for run in report(workspace, "--json").json["runs"]] == [first]
    done = report(workspace, last)
    assert (done.code, done.out) == (2, "")
    assert f"is not evaluated yet; `backbeam evaluate {last}" in done.err
    (workspace / "runs" / first / EVALUATION_NAME).unlink()
    done = report(workspace)
    assert (done.code, "is evaluated" in done.err) == (2, True)


def test_only_the_page_is_written(two, workspace):
    before = contents(workspace)
    first, _ = two[1]
    page = f"reports/pages/{first}.html"
    before.pop(page, None)
    done = report(workspace, first[:24])
    assert done.code == 0, done.err
    assert f"{first}: " in done.out
    assert page in done.out
    after = contents(workspace)
    assert after.pop(page)
    assert after == before


@pytest.mark.parametrize(
    "name",
    [
        "reports/predictions/run=*/test-*.parquet",
        "runs/*/parameters.safetensors",
        "runs/*/evaluation.json",
        "datasets/*/test-*.tfrecord",
    ],
)
def test_a_corrupt_file_is_reported_and_no_page_is_written(name, two, workspace, tmp_path):
    for path in workspace.glob(name):
        damage(path, "flip a bit")
    done = report(workspace, two[1][0], "--to", tmp_path / "page.html")
    assert done.code == 4, done.err
    assert "corrupt" in done.err or "is not what" in done.err
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "'nothing' matches no run"),
        (["article-manual"], "'article-manual' matches several runs"),
        (["FIRST", "FIRST"], "a run is named twice"),
        (["FIRST", "--to", "."], "is a folder: name a file in it"),
    ],
)
def test_usage_errors_exit_with_code_2(arguments, message, two):
    done = report(two[0], *[two[1][0] if argument == "FIRST" else argument for argument in arguments])
    assert done.code == 2, done.err
    assert message in done.err
    assert done.out == ""


def test_a_page_does_not_replace_a_pipe(two, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = report(two[0], two[1][0], "--to", pipe)
    assert (done.code, "is not a regular file" in done.err) == (2, True)
    assert pipe.is_fifo()


def test_pages_show_names_and_settings_that_differ(seeds_run, tmp_path):
    workspace = shutil.copytree(seeds_run, tmp_path / "ws")
    run = rename_run(workspace, find_model(workspace, "article-manual-seed2").run, "wide")
    page = write_report(workspace, ["wide"], tmp_path / "one.html").path.read_text()
    assert "<h1>wide</h1>" in page
    assert all(text in page for text in (run.run_id, "Differs from the recipe: <code>num_steps=20</code>"))
    several = write_report(workspace, ["article-manual-seed1", "wide"], tmp_path / "two.html").path.read_text()
    assert several.count("wide</th>") == 5
    assert f"<h3>wide, {run.run_id}</h3>" in several
