"""Evaluations by Beam: readers see whole tables only, whichever process is killed or fails."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from model.errors import BadInput, EngineFailed, StorageFailed
from pipeline.context import StageContext, StageLog
from pipeline.evaluate.beam_job import evaluate
from pipeline.evaluate.evaluation_record import check_evaluation
from pipeline.evaluate.shard_predictions import list_shards
from pipeline.evaluate.slices import SLICINGS, Slicing
from pipeline.evaluate.stage import evaluate_stage
from pipeline.storage import local_disk, tables
from pipeline.storage.cleanup import remove_stale_files
from pipeline.storage.tables import EVALUATION_TABLES, staging_folder
from pipeline.train.run_lookup import find_run
from tests.helpers import contents, copy_before

SPLITS = 2


@pytest.fixture
def workspace(seeds_run, tmp_path):
    """Three runs that are not evaluated."""
    copy = shutil.copytree(seeds_run, tmp_path / "ws")
    for table in (*EVALUATION_TABLES, "seeds"):
        shutil.rmtree(copy / "reports" / table)
    for record in copy.glob("runs/*/evaluation.json"):
        record.unlink()
    return copy


def run_ids(workspace):
    return sorted(path.name for path in workspace.glob("runs/*"))


def evaluate_run(workspace, run_id, arguments=(), slicings=SLICINGS):
    run, data = find_run(workspace, run_id)
    return evaluate(workspace, data.folder, data.manifest, run, list(arguments), slicings)


def visible_files(workspace):
    """The files of evaluations' tables that a glob over reports/ matches, by their path."""
    files_of_reports = contents(workspace / "reports").items()
    return {name: data for name, data in files_of_reports if Path(name).parts[0] in EVALUATION_TABLES}


def check_visible_files(workspace, expected):
    """A run's rows of a table are complete or absent; a run in the table evaluations is complete in every table."""
    found = visible_files(workspace)
    folders = {Path(name).parent for name in found}
    assert found == {name: data for name, data in expected.items() if Path(name).parent in folders}
    for folder in folders:
        if folder.parts[0] == "evaluations":
            assert {Path(table, folder.name) for table in EVALUATION_TABLES} <= folders


def test_repeated_bundles_give_the_same_tables(workspace, seeds_run):
    for name in run_ids(workspace):
        evaluate_run(workspace, name, ["--direct_runner_bundle_repeat=1"])
        check_evaluation(workspace, find_run(workspace, name)[0])
    assert visible_files(workspace) == visible_files(seeds_run)


def test_killed_evaluation_leaves_complete_tables_only_and_can_be_repeated(workspace, seeds_run, tmp_path, monkeypatch):
    """A copy of the workspace before each rename is what SIGKILL at that moment would leave."""
    name = run_ids(workspace)[0]
    copies = []
    copying = partial(copy_before, source=workspace, copies=copies, folder=tmp_path)
    with monkeypatch.context() as patch:
        for module in (local_disk, tables):
            patch.setattr(module, "rename", copying(module.rename))
        evaluate_run(workspace, name)
    assert len(copies) >= 2 * len(EVALUATION_TABLES)
    expected = visible_files(seeds_run)
    for copy in copies:
        check_visible_files(copy, expected)
        assert not (copy / "runs" / name / "evaluation.json").exists()
    for copy in copies[3 :: len(copies) // 3]:
        remove_stale_files(copy)  # as the next process that takes the lock does
        evaluate_run(copy, name)
        assert contents(copy) == contents(workspace)


def raise_error(examples):
    raise ValueError("no")


def test_failed_evaluation_removes_the_tables_of_its_run_only(workspace):
    first, second, _ = run_ids(workspace)
    evaluate_run(workspace, first)
    before = visible_files(workspace)
    evaluate_run(workspace, second)
    (workspace / "runs" / second / "evaluation.json").unlink()
    with pytest.raises(BadInput, match=r"slicing mine \(.*test_beam_job:raise_error\) failed: ValueError: no"):
        evaluate_run(workspace, second, (), SLICINGS | {"mine": Slicing(raise_error)})
    assert visible_files(workspace) == before
    assert not staging_folder(workspace, "predictions", second).exists()


def change_images(examples):
    examples.images[:] = 0
    return examples.labels


def many_keys(examples):
    return examples.indices + 1000 * np.arange(len(examples.indices))


@pytest.mark.parametrize(
    ("slicing", "problem"),
    [(change_images, "read-only"), (many_keys, r"gives \d+ different keys or more, expected at most 25")],
)
def test_slicing_that_changes_images_or_has_too_many_keys_is_rejected(slicing, problem, workspace, monkeypatch):
    monkeypatch.setattr("pipeline.evaluate.slices.MOST_KEYS", 25)  # no shard alone has as many
    with pytest.raises(BadInput, match=problem):
        evaluate_run(workspace, run_ids(workspace)[0], (), SLICINGS | {"mine": Slicing(slicing)})


def test_engine_that_writes_nothing_is_an_error(workspace, monkeypatch):
    monkeypatch.setattr("pipeline.evaluate.beam_job.run_pipeline", lambda *arguments: None)
    with pytest.raises(EngineFailed, match=r"wrote no evaluation\.json"):
        evaluate_run(workspace, run_ids(workspace)[0])


def test_a_shard_that_cannot_be_read_is_an_error_of_storage(workspace, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error", "a shard")

    monkeypatch.setattr("pipeline.evaluate.shard_predictions.read_shard", fail)
    before = contents(workspace)
    with pytest.raises(StorageFailed, match=r"^storage: \[Errno 5\] Input/output error: 'a shard'$"):
        evaluate_run(workspace, run_ids(workspace)[0])
    assert contents(workspace) == before


def test_the_steps_of_the_job_have_no_list_of_the_shards(workspace, monkeypatch):
    built = []
    monkeypatch.setattr("pipeline.evaluate.beam_job.run_pipeline", lambda *arguments: built.append(arguments[-1]))
    with pytest.raises(EngineFailed):
        evaluate_run(workspace, run_ids(workspace)[0])
    [build] = built
    whole = find_run(workspace, run_ids(workspace)[0])[1].manifest
    assert build.keywords["job"].manifest == whole.without_shards()
    assert build.keywords["shards"] == list_shards(whole)


def test_data_set_that_is_too_large_for_a_table_is_rejected_before_the_tables_are_replaced(workspace, monkeypatch):
    monkeypatch.setattr("pipeline.evaluate.beam_job.run_pipeline", lambda *arguments: pytest.fail("work began"))
    monkeypatch.setattr("pipeline.storage.tables.MAX_ROWS", SPLITS * 9 - 1)
    before = contents(workspace)
    run, data = find_run(workspace, run_ids(workspace)[0])
    with pytest.raises(BadInput, match="confusion would have 18 rows"):
        evaluate_stage(StageContext(workspace, ()), data, [run], SLICINGS, StageLog())
    assert contents(workspace) == before
