"""The functions of the public API that write pages, in this process."""

import shutil

import pytest

import backbeam
from tests.helpers import contents, run_in_process


@pytest.fixture
def workspace(seeds_run, tmp_path):
    """A copy of a workspace with three runs, without pages."""
    return shutil.copytree(seeds_run, tmp_path / "copied", ignore=shutil.ignore_patterns("pages"))


def test_the_index_is_that_of_the_command(workspace, capfd):
    index = backbeam.report(workspace=workspace, all=True)
    assert index.path == workspace / "reports" / "pages" / "index.html"
    assert len(index.figures) == 3
    assert capfd.readouterr() == ("", "")
    pages = contents(workspace / "reports" / "pages")
    assert len(pages) == 4  # of each run too
    done = run_in_process("report", "--all", "--workspace", workspace)
    assert done.code == 0, done.err
    assert contents(workspace / "reports" / "pages") == pages


def test_the_inspector_is_that_of_the_command(workspace, tmp_path):
    page = backbeam.learn("latest", workspace=workspace, to=tmp_path / "learn.html")
    assert page.path.stat().st_size == page.num_bytes
    done = run_in_process("learn", "latest", "--workspace", workspace)
    assert done.code == 0, done.err
    assert page.path.read_bytes() == (workspace / "reports" / "pages" / "learn.html").read_bytes()


@pytest.mark.thorough
def test_a_small_network_is_trained_if_there_is_none(tmp_path, capfd):
    page = backbeam.learn(workspace=tmp_path / "ws", to=tmp_path / "learn.html")
    [run] = backbeam.open_workspace(tmp_path / "ws").runs()
    assert page.figures[0]["run_id"] == run.record.run_id
    assert capfd.readouterr().out == ""


def test_bad_arguments_are_refused_before_anything_is_written(workspace, tmp_path):
    before = contents(workspace)
    for call, problem in (
        (lambda: backbeam.report("latest", workspace=workspace, all=True), "leave out runs and to"),
        (lambda: backbeam.report(workspace=workspace, to=tmp_path / "x.html", all=True), "leave out runs and to"),
        (lambda: backbeam.learn(workspace=workspace, seeds=[1]), "learn: no such argument: 'seeds'"),
        (lambda: backbeam.learn(workspace=tmp_path / "none", to="s3://bucket/page.html"), "a path of this machine"),
    ):
        with pytest.raises(backbeam.BadUsage, match=problem):
            call()
    assert contents(workspace) == before
    assert not (tmp_path / "none").exists()
