"""The functions of the public API, in this process."""

import logging
import shutil
import signal
import sys
from typing import Any, get_type_hints

import pytest

import backbeam
from backbeam.settings import DatasetSettings, JobSettings, TrainingSettings
from model.recipes import TrainingConfig
from pipeline.preprocess.stage import DatasetConfig
from pipeline.sources.catalog import PictureOptions
from pipeline.storage.lock import lock_workspace
from tests.helpers import artefacts

ID = "article-manual-seed1"
SETTINGS: dict[str, Any] = {"seeds": range(1, 4), "num_steps": 20, "num_shards": 3}  # of the fixture `seeds_run`


@pytest.fixture
def copied(seeds_run, tmp_path):
    """A copy of a workspace, for calls that lock or change it, and the folder of its sources."""
    return shutil.copytree(seeds_run, tmp_path / "copied"), seeds_run.parent / "digits"


def test_repeated_call_returns_complete_runs_and_leaves_the_process_alone(copied, capfd, caplog):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    streams = (sys.stdout, sys.stderr)
    workspace, digits = copied
    with caplog.at_level(logging.INFO, "backbeam"):
        result = backbeam.run(digits, workspace=workspace, **SETTINGS)
    assert sorted(run.run_id for run in result.runs) == sorted(path.name for path in workspace.glob("runs/*"))
    assert [evaluation.test_result().num_examples for evaluation in result.evaluations] == [20, 20, 20]
    assert [row["seeds"] for row in result.seeds] == [[1, 2, 3], [1, 2, 3]]
    assert "train: already done, checking" in caplog.messages
    assert capfd.readouterr() == ("", "")
    assert (sys.stdout, sys.stderr) == streams
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_verbose_call_shows_its_messages(copied, capfd):
    backbeam.validate(workspace=copied[0], verbose=True)
    assert "validate: already done, checking" in capfd.readouterr().err


@pytest.mark.thorough
def test_stages_write_what_the_command_writes(tmp_path, seeds_run, capfd):
    workspace = tmp_path / "ws"
    found = backbeam.preprocess(seeds_run.parent / "digits", num_shards=3, workspace=workspace)
    runs = backbeam.train(found.dataset.manifest.name, seeds=[1], num_steps=20, workspace=workspace)
    evaluation = backbeam.evaluate(ID, workspace=workspace)
    assert evaluation == backbeam.open_workspace(seeds_run).run(ID).evaluation
    made = artefacts(workspace)
    expected = artefacts(seeds_run)
    shared = [name for name in made if name.startswith(("datasets", "reports", f"runs/{runs[0].run_id}"))]
    assert {name: made[name] for name in shared} == {name: expected[name] for name in shared}
    page = backbeam.report(ID, workspace=workspace, to=tmp_path / "page.html")
    assert page.path.stat().st_size == page.num_bytes
    assert capfd.readouterr().out == ""


@pytest.mark.thorough
def test_retraining_decides(tmp_path, digits_folder):
    arguments = {"workspace": tmp_path / "ws", "num_steps": 20, "why": "a test"}
    result = backbeam.retrain(f"{digits_folder.parent}/dig*", **arguments)
    assert (result.entry.action, result.entry.why) == ("retrain", "a test")
    with pytest.raises(backbeam.BadUsage, match="--why: 1,001 characters"):
        backbeam.retrain(digits_folder, **(arguments | {"why": "x" * 1001}))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"lr": 3}, "no such argument: 'lr' .did you mean 'learning_rate' or 'weights_rate' or 'biases_rate'"),
        ({"worksapce": "x"}, "did you mean 'workspace'"),
        ({"batch_size": 0}, "batch_size: .*, found 0"),
        ({"seeds": [1], "seed": 2}, "--seed or --seeds, not both"),
        ({"seeds": [-1]}, "--seeds takes numbers"),
        ({"num_shards": 0}, "--num-shards is 0, expected 1 to 99,999"),
        ({"keep_checkpoints": 0}, "--keep-checkpoints is 0"),
        ({"workers": 0}, "--workers is 0"),
        ({"image_size": (28, 0)}, "--image-size"),
        ({"recipe": "moderm"}, "did you mean 'modern'"),
        ({"dataset": "s3://key:secret@bucket/digits"}, "may hold a secret"),
        ({"slices": {"thin": "nowhere:thin"}}, "cannot be imported"),
        ({"device": "tpu"}, "no such device"),
    ],
)
def test_bad_arguments_are_usage_errors_before_any_work(tmp_path, arguments, problem):
    with pytest.raises(backbeam.BadUsage, match=problem):
        backbeam.run(**({"workspace": tmp_path / "ws"} | arguments))
    assert not (tmp_path / "ws").exists()


def test_failures_are_errors_of_their_kind(tmp_path, copied, monkeypatch):
    workspace, _ = copied
    with pytest.raises(backbeam.BadUsage, match="no data set"):
        backbeam.run(tmp_path / "missing", workspace=tmp_path / "ws")
    with pytest.raises(backbeam.BadUsage, match="no workspace"):
        backbeam.train(workspace=tmp_path / "none")
    with lock_workspace(workspace), pytest.raises(backbeam.Locked, match="in use"):
        backbeam.evaluate(ID, workspace=workspace)
    shard = next(workspace.glob("datasets/*/train-00001*"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    data = backbeam.open_workspace(workspace).dataset()
    for call in (backbeam.validate, backbeam.train):
        with pytest.raises(backbeam.CorruptArtefact, match="train-00001"):
            call(workspace=workspace)
    for read in (data.to_numpy, data.to_tf):
        with pytest.raises(backbeam.CorruptArtefact, match="train-00001"):
            read("train")
    assert len(data.to_numpy("test")[0]) == 20
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}')
    with pytest.raises(backbeam.BadUsage, match="TF_CONFIG"):
        backbeam.run(workspace=workspace)


def test_settings_are_those_of_the_configurations():
    options = {*DatasetConfig.__dataclass_fields__, *PictureOptions._fields} - {
        "class_names",
        "datasets",
        "names",
        "pictures",
        "splits",
    }
    assert set(get_type_hints(DatasetSettings)) == options
    settings = set(TrainingConfig.model_fields) - {"recipe", "warm_start"} | {"learning_rate"}
    assert set(get_type_hints(TrainingSettings)) == settings
    assert set(get_type_hints(JobSettings)) >= options | settings


def test_paths_are_of_this_machine_and_may_begin_with_the_home_folder(tmp_path, seeds_run, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert backbeam.report("latest", workspace=seeds_run, to="~/page.html").path == tmp_path / "page.html"
    for call in (
        lambda: backbeam.report("latest", workspace=seeds_run, to="s3://bucket/page.html"),
        lambda: backbeam.preprocess(workspace=tmp_path / "ws", cache_dir="s3://bucket/cache"),
    ):
        with pytest.raises(backbeam.BadUsage, match="is a URI, expected a path of this machine"):
            call()
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
