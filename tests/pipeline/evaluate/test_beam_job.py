"""How an evaluation's tables come to be where readers look: whole, in their order, whatever happens on the way."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.errors import BadInput, EngineFailed
from pipeline.evaluate import beam_job
from pipeline.evaluate.beam_job import ShardResult, _as_lists, evaluate, merge
from pipeline.evaluate.group_counts import count_groups
from pipeline.evaluate.records import check_evaluation
from pipeline.evaluate.slices import SLICINGS, Slicing
from pipeline.storage import files, folders, tables
from pipeline.storage.cleanup import remove_stale_files
from pipeline.storage.tables import EVALUATION_TABLES, staging_folder
from pipeline.storage.workspace import table_partition
from pipeline.train.run_lookup import find_run
from tests.helpers import contents, killed_at

SPLITS = 2
# of made-up digits in three classes, 60 and 20 of them, in three and one shards
NUM_ROWS = {
    "evaluations": SPLITS,
    "classes": SPLITS * 3,
    "confusion": SPLITS * 9,
    "calibration": SPLITS * 10,
    "weights": 4,
    "predictions": 80,
}


@pytest.fixture
def workspace(seeds_run, tmp_path):
    """Three runs, none of them evaluated."""
    copy = shutil.copytree(seeds_run, tmp_path / "ws")
    for table in (*EVALUATION_TABLES, "seeds"):
        shutil.rmtree(copy / "reports" / table)
    for record in copy.glob("runs/*/evaluation.json"):
        record.unlink()
    return copy


def names(workspace):
    return sorted(path.name for path in workspace.glob("runs/*"))


def evaluate_run(workspace, name, arguments=(), slicings=SLICINGS):
    run, data = find_run(workspace, name)
    return evaluate(workspace, data.folder, data.manifest, run, list(arguments), slicings)


def seen_by_readers(workspace):
    """The files of evaluations' tables that a glob over reports/ matches, by their path."""
    found = contents(workspace / "reports").items()
    return {name: data for name, data in found if Path(name).parts[0] in EVALUATION_TABLES}


def check_what_readers_see(workspace, expected):
    """Every run's rows of a table are there wholly or not at all; one that stands in evaluations is whole in all."""
    found = seen_by_readers(workspace)
    folders = {Path(name).parent for name in found}
    assert found == {name: data for name, data in expected.items() if Path(name).parent in folders}
    for folder in folders:
        if folder.parts[0] == "evaluations":
            assert {Path(table, folder.name) for table in EVALUATION_TABLES} <= folders


def test_a_new_run_touches_no_file_of_another(workspace):
    first, second, third = names(workspace)

    def stamps():
        return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in workspace.rglob("*") if path.is_file()}

    evaluate_run(workspace, first)
    for name in (second, third):
        before, times = contents(workspace), stamps()
        evaluate_run(workspace, name)
        after, later = contents(workspace), stamps()
        assert {place: after[place] for place in before} == before
        assert {place: later[place] for place in times} == times
        assert all(
            f"run={name}/" in place or place == f"runs/{name}/evaluation.json" for place in after.keys() - before
        )


def test_the_same_bundles_again_change_nothing(workspace, seeds_run):
    for name in names(workspace):
        evaluate_run(workspace, name, ["--direct_runner_bundle_repeat=1"])
        check_evaluation(workspace, find_run(workspace, name)[0])
    assert seen_by_readers(workspace) == seen_by_readers(seeds_run)


def test_what_is_there_when_it_is_cut_off_anywhere(workspace, seeds_run, tmp_path, monkeypatch):
    """A copy of the files before each change that is seen outside is what SIGKILL at that moment would leave."""
    name, copies = names(workspace)[0], []

    def before(function):
        def watched(*arguments):
            copies.append(shutil.copytree(workspace, tmp_path / f"copy-{len(copies)}"))
            return function(*arguments)

        return watched

    with monkeypatch.context() as patch:
        for module in (files, folders):
            patch.setattr(module, "rename", before(module.rename))
        evaluate_run(workspace, name)
    assert len(copies) >= 2 * len(EVALUATION_TABLES)
    expected = seen_by_readers(seeds_run)
    for copy in copies:
        check_what_readers_see(copy, expected)
        assert not (copy / "runs" / name / "evaluation.json").exists()
    for copy in copies[3 :: len(copies) // 3]:
        remove_stale_files(copy)  # as whoever takes the lock next does
        evaluate_run(copy, name)
        assert contents(copy) == contents(workspace)


@pytest.mark.parametrize(
    ("event", "pattern"),
    [("open", r"\.confusion\.parquet\."), ("os.rename", "/reports/weights/run="), ("open", r"\.evaluation\.json\.")],
)
def test_a_job_that_is_killed_is_done_again(event, pattern, workspace, seeds_run):
    name = names(workspace)[0]
    assert killed_at(event, pattern, "evaluate", name, "--workspace", workspace) == -signal.SIGKILL
    assert not list(workspace.glob("runs/*/evaluation.json"))
    check_what_readers_see(workspace, seen_by_readers(seeds_run))
    if event == "open" and "confusion" in pattern:
        assert not seen_by_readers(workspace)
    evaluate_run(workspace, name)
    shutil.rmtree(workspace / ".temporary")  # which the command deletes, whatever is in it
    place = f"/run={name}/"
    assert seen_by_readers(workspace) == {
        path: data for path, data in seen_by_readers(seeds_run).items() if place in f"/{path}"
    }


def fail(answered):
    raise ValueError("no")


@pytest.mark.parametrize("options", [(), ("--direct_runner_bundle_repeat=1",)])
def test_an_evaluation_that_fails_takes_an_earlier_one_of_the_run_away_and_no_other(options, workspace):
    first, second, _ = names(workspace)
    evaluate_run(workspace, first)
    before = seen_by_readers(workspace)
    evaluate_run(workspace, second)
    (workspace / "runs" / second / "evaluation.json").unlink()
    with pytest.raises(BadInput, match=r"slicing mine \(.*test_beam_job:fail\) failed: ValueError: no"):
        evaluate_run(workspace, second, options, SLICINGS | {"mine": Slicing(fail)})
    assert seen_by_readers(workspace) == before
    assert not staging_folder(workspace, "predictions", second).exists()


def write(answered):
    answered.images[:] = 0
    return answered.labels


def many(answered):
    return answered.indices + 1000 * np.arange(len(answered.indices))


def test_a_slicing_cannot_change_the_images(workspace):
    with pytest.raises(BadInput, match="read-only"):
        evaluate_run(workspace, names(workspace)[0], (), SLICINGS | {"mine": Slicing(write)})


def test_a_slicing_that_cuts_nothing_is_refused_in_the_sum(workspace, monkeypatch):
    monkeypatch.setattr("pipeline.evaluate.slices.MOST_KEYS", 25)  # each shard has fewer
    with pytest.raises(BadInput, match=r"gives \d+ different keys or more, expected at most 25"):
        evaluate_run(workspace, names(workspace)[0], (), SLICINGS | {"mine": Slicing(many)})


def test_an_engine_that_does_nothing_is_an_error(workspace, monkeypatch):
    monkeypatch.setattr("pipeline.evaluate.beam_job.run_pipeline", lambda *arguments: None)
    with pytest.raises(EngineFailed, match=r"wrote no evaluation\.json"):
        evaluate_run(workspace, names(workspace)[0])


def test_a_shard_whose_outputs_no_table_can_hold_is_refused_before_any_work(workspace, monkeypatch):
    """A row has three outputs of four bytes; the shard of the test split has 20."""
    monkeypatch.setattr("pipeline.evaluate.beam_job.run_pipeline", lambda *arguments: pytest.fail("work began"))
    monkeypatch.setattr("pipeline.storage.tables.MAX_TABLE_BYTES", 12 * 10)
    before = contents(workspace)
    with pytest.raises(BadInput, match=r"digits-\w+/test-00000-of-00001\.tfrecord would have .*larger --num-shards"):
        evaluate_run(workspace, names(workspace)[0])
    assert contents(workspace) == before


def test_more_classes_than_a_confusion_table_can_hold_are_refused_before_any_work(workspace, monkeypatch):
    monkeypatch.setattr("pipeline.evaluate.beam_job.run_pipeline", lambda *arguments: pytest.fail("work began"))
    monkeypatch.setattr("pipeline.storage.tables.MAX_ROWS", SPLITS * 9 - 1)
    with pytest.raises(BadInput, match=r"confusion would have 18 rows .*, at most 17 .*: 3 classes are too many"):
        evaluate_run(workspace, names(workspace)[0])


def test_outputs_become_lists_of_one_length():
    outputs = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert _as_lists(outputs).to_pylist() == outputs.tolist()
    assert _as_lists(outputs[:0]).to_pylist() == []


def test_offsets_of_lists_never_wrap_around():
    assert _as_lists(np.zeros((1, 3), np.float32)).offsets.type == pa.int32()
    with pytest.raises(pa.ArrowInvalid, match="2147483648 not in range"):
        _as_lists(np.broadcast_to(np.float32(0), (1, 2**31)))  # which takes no memory


READER = """
import glob, json, sys
import pyarrow.parquet as pq

reports, expected = sys.argv[1], json.loads(sys.argv[2])
passes = moments = 0

def seen(table):
    found = {}
    for path in glob.glob(f"{reports}/{table}/*/*.parquet"):
        name = path.split("/")[-2]
        found[name] = found.get(name, 0) + pq.ParquetFile(path).metadata.num_rows
    return found

print("reading", flush=True)
complete = {}
while len(complete) < 3:
    complete = seen("evaluations")
    tables = {table: seen(table) for table in expected}
    passes += 1
    moments += 0 < len(tables["predictions"]) < 3
    for table, found in tables.items():
        wrong = {name: count for name, count in found.items() if count != expected[table]}
        missing = complete.keys() - found.keys()
        if wrong or missing:
            sys.exit(f"{table}: {wrong} of {expected[table]} rows, without {missing}")
print(json.dumps([passes, moments]))
"""


def test_a_reader_beside_it_never_sees_half(workspace, monkeypatch):
    """Evaluations are slowed down, so that every state lasts; another process reads all the while."""

    def slowly(function):
        def slow(*arguments):
            time.sleep(0.02)
            return function(*arguments)

        return slow

    monkeypatch.setattr(tables, "publish_folder", slowly(tables.publish_folder))
    monkeypatch.setattr(beam_job, "write_table", slowly(beam_job.write_table))
    command = [sys.executable, "-c", READER, workspace / "reports", json.dumps(NUM_ROWS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reader:
        patience = threading.Timer(120, reader.kill)
        patience.start()
        assert reader.stdout.readline() == "reading\n"
        for name in names(workspace):
            evaluate_run(workspace, name)
        said, problem = reader.communicate()
        patience.cancel()
    assert reader.returncode == 0, problem
    passes, moments = json.loads(said)
    assert passes > moments > 0  # it looked before, between and after


def test_dead_units_and_ranges_are_of_all_examples(workspace, seeds_run):
    """Against a forward pass in NumPy over every image of the source."""
    from model.checkpoint import decode_parameters
    from tests.helpers import Digits

    name = names(workspace)[0]
    evaluate_run(workspace, name)
    (weights, biases), _ = decode_parameters((workspace / "runs" / name / "parameters.safetensors").read_bytes())
    images = np.concatenate([Digits().split(number, size)[0] for number, size in ((0, 60), (1, 20))])
    hidden = 1 / (1 + np.exp(-(images.reshape(80, -1) / 255 @ weights.T.astype(np.float64) + biases)))
    table = pd.read_parquet(workspace / table_partition("weights", name))
    assert table["num_dead_units"].tolist() == [int((np.ptp(hidden, axis=0) < 1e-3).sum())] * 2 + [0, 0]
    assert table["norm"].iloc[0] == pytest.approx(np.linalg.norm(weights.astype(np.float64)))
    schema = pq.read_schema(next((workspace / table_partition("weights", name)).iterdir()))
    assert schema.field("norm").metadata[b"unit"] == b"parameter"


@pytest.mark.parametrize(("name", "refused"), [("class", False), ("thin", True)])
def test_only_slicings_of_a_user_may_not_have_many_keys(name, refused):
    """A data set may have more than a thousand classes."""
    keys = np.arange(1001)
    counted = count_groups(keys, keys > 0, np.zeros(len(keys)))
    job = SimpleNamespace(slicings=SLICINGS | {"thin": "mine:thin"})
    results = [ShardResult((), {(name, "test"): counted}, (), ())]
    if refused:
        with pytest.raises(BadInput, match="1,001 different keys"):
            merge(results, job)
    else:
        assert len(merge(results, job).slices[name, "test"].keys) == 1001
