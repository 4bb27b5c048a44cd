"""`backbeam learn`: the inspector as a page of its own, from a run of the workspace or from one trained for it."""

import shutil
import webbrowser
from functools import partial
from pathlib import Path

import pytest

from pipeline.cli import learn_command
from pipeline.cli.stage_options import DatasetOptions, TrainingOptions
from tests import browser
from tests.helpers import Digits, contents, run_in_process
from tests.pages import read_page


def learn(workspace, *arguments):
    return run_in_process("learn", "--workspace", workspace, *arguments)


@pytest.fixture(scope="module")
def written(digits_run, tmp_path_factory):
    done = learn(digits_run, "--to", tmp_path_factory.mktemp("learn") / "page.html", "--json")
    assert done.code == 0, done.err
    return done.json


def test_the_page_is_the_inspector_alone(written):
    page = read_page(written["path"])
    assert [each["id"] for each in page.all("section")] == ["inspector"]
    assert page.by_id("inspector-data")["text"]
    assert Path(written["path"]).stat().st_size == written["num_bytes"] < 650_000
    assert f"{100 * written['runs'][0]['accuracy']:.2f} % of 1,000 test examples right" in page.all("header")[0]["text"]


def test_the_page_starts_without_errors(written):
    if not browser.is_installed():
        pytest.skip(browser.MISSING)
    with browser.chromium() as driver:
        browser.show(driver, Path(written["path"]))
        assert browser.inspector(driver, "root").is_displayed()
        assert not [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def test_a_run_of_the_workspace_is_used_and_nothing_else_is_written(seeds_run, tmp_path):
    workspace = shutil.copytree(seeds_run, tmp_path / "ws")
    before = contents(workspace)
    done = learn(workspace, "article-manual-seed1", "--json")
    assert done.code == 0, done.err
    assert done.json["runs"][0]["run_id"].startswith("article-manual-seed1")
    after = contents(workspace)
    assert after.pop("reports/pages/learn.html")
    assert after == before


def test_a_run_is_trained_if_there_is_none(tmp_path, monkeypatch):
    source = Digits().write(tmp_path / "digits")
    monkeypatch.setattr(learn_command, "DatasetOptions", partial(DatasetOptions, dataset=[str(source)]))
    monkeypatch.setattr(learn_command, "TrainingOptions", partial(TrainingOptions, num_steps=20))
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    done = learn(tmp_path / "ws", "--open", "--json")
    assert done.code == 0, done.err
    assert opened == [Path(done.json["path"]).as_uri()]
    assert len(list((tmp_path / "ws" / "runs").iterdir())) == 1


def test_an_unknown_run_is_an_error_and_nothing_is_trained(tmp_path):
    done = learn(tmp_path / "ws", "mine")
    assert done.code == 2
    assert "no workspace" in done.err
    assert not (tmp_path / "ws").exists()


def test_a_network_that_is_too_large_is_refused(seeds_run, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.report.backprop_inspector.MAX_PARAMETERS", 10)
    done = learn(seeds_run, "article-manual-seed1", "--to", tmp_path / "page.html")
    assert done.code == 2
    assert "has no inspector" in done.err
    assert not (tmp_path / "page.html").exists()
