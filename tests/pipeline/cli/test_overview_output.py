"""The table of `backbeam runs` has one line for each run on a terminal of any usual width."""

import shutil

import pytest

from pipeline.cli.overview_output import build_run_list_output, fit_run_sheet
from pipeline.evaluate.evaluated_runs import list_runs
from pipeline.evaluate.learning_problems import NEVER_ANSWERED
from pipeline.train.run_lookup import find_run_folder
from pipeline.train.run_names import rename_run
from pipeline.train.run_record import load_run
from tests.helpers import on_terminal, run_in_process

ROW = {
    "run": "article-manual-seed1-0123456789ab",
    "accuracy": "95.03 %",
    "interval": "93.50 to 96.21 %",
    "finished": "2026-11-27 18:43",
    "changed": "layers=784,100,10 batch_size=20 momentum=0.5",
}
PLAIN = ROW | {"changed": ""}


def fit(rows, num_columns):
    sheet = fit_run_sheet(rows, "title", num_columns)
    return [heading.strip("#").split()[0] for heading in sheet.headings], sheet.rows[0][-1]


@pytest.mark.parametrize(
    ("num_columns", "headings", "changed"),
    [
        (None, ["run", "accuracy", "95", "finished", "differs"], ROW["changed"]),
        (131, ["run", "accuracy", "95", "finished", "differs"], ROW["changed"]),
        (130, ["run", "accuracy", "finished", "differs"], ROW["changed"]),
        (100, ["run", "accuracy", "finished", "differs"], "layers=784,100,10 batch_size=..."),
        (80, ["run", "accuracy", "differs"], "layers=784,100,10 batch_size..."),
        (69, ["run", "accuracy", "settings"], "layers=784,100,10..."),
        (60, ["run", "accuracy"], "95.03 %"),
    ],
)
def test_what_does_not_fit_is_left_out(num_columns, headings, changed):
    assert fit([ROW, PLAIN], num_columns) == (headings, changed)


def test_table_without_changed_settings_has_no_column_for_them():
    assert fit([PLAIN], 90) == (["run", "accuracy", "95", "finished"], ROW["finished"])
    assert fit([PLAIN], 80) == (["run", "accuracy", "finished"], ROW["finished"])


def test_name_takes_the_place_of_the_id(seeds_run, tmp_path):
    workspace = shutil.copytree(seeds_run, tmp_path / "ws")
    run = rename_run(workspace, load_run(find_run_folder(workspace, "article-manual-seed2")), "wide")
    result, [sheet] = build_run_list_output(list_runs(workspace), None)
    assert [(each["run_id"], each["changed_settings"]) for each in result["runs"] if each["name"] == "wide"] == [
        (run.run_id, {"num_steps": 20, "seed": 2})
    ]
    assert "wide" in [row[0] for row in sheet.rows]
    assert {row[-1] for row in sheet.rows} == {"num_steps=20"}


@pytest.mark.thorough
def test_run_has_one_line_on_a_terminal_of_80_columns(seeds_run):
    lines = on_terminal("runs", "--workspace", seeds_run, num_columns=80).splitlines()
    assert len([line for line in lines if "article" in line and "num_steps=20" in line]) == 3
    assert len([line for line in lines if line.strip(" \x1b[01m")]) == 7  # title, headings, rule, what is left out


def test_run_is_shown_without_its_data_set(seeds_run, tmp_path):
    workspace = shutil.copytree(seeds_run, tmp_path / "ws")
    shutil.rmtree(workspace / "datasets")
    done = run_in_process("show", "latest", "--workspace", workspace, "--json")
    assert done.code == 0, done.err
    assert {problem["kind"] for problem in done.json["learning_problems"]} <= {NEVER_ANSWERED}
    assert "cannot be told without its data set" in done.err
