"""Slicings that are added to complete evaluations; a process that is killed meanwhile leaves a sound evaluation."""

import shutil
from functools import partial

import pytest

from model.errors import BadInput
from pipeline.context import StageContext, StageLog
from pipeline.evaluate import added_slices, evaluation_record
from pipeline.evaluate.evaluation_record import check_evaluation, load_evaluation
from pipeline.evaluate.slices import SLICINGS, Slicing
from pipeline.evaluate.stage import evaluate_stage
from pipeline.evaluate.table_reader import read_rows
from pipeline.train.run_lookup import find_run
from tests.helpers import contents, copy_before

RUN = "article-manual-seed1"


def is_odd(examples):
    return examples.indices % 2 == 1


def bright(examples):
    return examples.images.mean(axis=(1, 2)) > 100


def fail(examples):
    raise ValueError("no")


BOTH = {"bright": Slicing(bright), "odd": Slicing(is_odd)}


@pytest.fixture
def workspace(seeds_run, tmp_path):
    return shutil.copytree(seeds_run, tmp_path / "ws")


def evaluate(workspace, slicings):
    run, data = find_run(workspace, RUN)
    log = StageLog()
    [record] = evaluate_stage(StageContext(workspace, ()), data, [run], SLICINGS | slicings, log)
    return record, log


def test_added_slices_are_those_of_an_evaluation_with_all_slicings(workspace, seeds_run, tmp_path):
    before = contents(workspace)
    evaluate(workspace, {"odd": BOTH["odd"]})
    record, log = evaluate(workspace, BOTH)
    assert log.skipped == []
    assert set(record.slicings) == {*SLICINGS, *BOTH}
    assert {name: record.slicings[name] for name in SLICINGS} == {name: name for name in SLICINGS}
    changed = {name for name, data in contents(workspace).items() if before.get(name) != data}
    assert changed == {f"reports/slices/run={record.run_id}/slices.parquet", f"runs/{record.run_id}/evaluation.json"}
    whole = shutil.copytree(seeds_run, tmp_path / "whole")
    (whole / "runs" / record.run_id / "evaluation.json").unlink()
    evaluate(whole, BOTH)
    assert contents(whole) == contents(workspace)
    assert evaluate(workspace, {})[1].skipped == ["evaluate"]  # fewer are accepted


def test_failing_slicing_leaves_the_evaluation_as_it_was(workspace):
    before = contents(workspace)
    with pytest.raises(BadInput, match=r"slicing mine .*: no"):
        evaluate(workspace, {"mine": Slicing(fail)})
    after = contents(workspace)
    after.pop("engine.log", None)
    assert after == before


@pytest.mark.thorough
def test_killed_addition_leaves_a_sound_evaluation_and_can_be_repeated(workspace, tmp_path, monkeypatch):
    """A copy of the workspace before each write is what SIGKILL at that moment would leave."""
    copies = []
    copying = partial(copy_before, source=workspace, copies=copies, folder=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(added_slices, "write_atomically", copying(added_slices.write_atomically))
        for name in ("write_atomically", "remove_file"):
            patch.setattr(evaluation_record, name, copying(getattr(evaluation_record, name)))
        record, _ = evaluate(workspace, BOTH)
    assert len(copies) == 4
    for number, copy in enumerate(copies):
        found = check_evaluation(copy, find_run(copy, RUN)[0])
        assert ("odd" in found.slicings) == (number >= 2)  # from when on the new table is in place
        assert evaluate(copy, {})[0] == found
        assert not list(copy.glob("runs/*/evaluation-next.json"))
        evaluate(copy, BOTH)
        assert contents(copy) == contents(workspace)
    assert load_evaluation(workspace, find_run(workspace, RUN)[0]) == record
    slices = read_rows(workspace, "slices", record.run_id).to_pylist()
    assert {row["slicing"] for row in slices} == {*SLICINGS, *BOTH}
