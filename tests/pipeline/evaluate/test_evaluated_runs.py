"""Listing runs while another process deletes one."""

import shutil

import pytest

from pipeline.evaluate import evaluated_runs
from pipeline.evaluate.evaluated_runs import list_runs


@pytest.mark.parametrize("moment", ["load_run", "load_evaluation", "count_train_examples"])
def test_a_run_that_is_deleted_while_runs_are_listed_is_left_out(moment, seeds_run, tmp_path, monkeypatch):
    workspace = shutil.copytree(seeds_run, tmp_path / "ws")
    before = [summary.run.run_id for summary in list_runs(workspace).runs]
    read = getattr(evaluated_runs, moment)
    deleted = []

    def delete_first(*arguments):
        if not deleted:
            folder = arguments[0] if moment == "load_run" else workspace / "runs" / arguments[1].run_id
            deleted.append(folder.name)
            shutil.rmtree(folder)
        return read(*arguments)

    monkeypatch.setattr(evaluated_runs, moment, delete_first)
    listing = list_runs(workspace)
    assert listing.problems == []
    found = {summary.run.run_id for summary in listing.runs}
    assert {*before} - {*deleted} <= found
    if moment != "count_train_examples":  # all of the run had been read then
        assert found.isdisjoint(deleted)


def test_a_run_without_its_evaluation_while_its_record_stays_is_an_error(seeds_run, tmp_path, monkeypatch):
    workspace = shutil.copytree(seeds_run, tmp_path / "ws")

    def lose(_, run):
        raise FileNotFoundError(run.run_id)

    monkeypatch.setattr(evaluated_runs, "load_evaluation", lose)
    with pytest.raises(FileNotFoundError):
        list_runs(workspace)
