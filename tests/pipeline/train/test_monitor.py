"""What is left in the folder of a run that fails, is interrupted or diverges."""

from contextlib import contextmanager
from functools import partial
from threading import Event

import numpy as np
import pytest
import tensorflow as tf

from model.errors import EngineFailed, StorageFailed
from model.examples import Examples
from model.fitting import Progress, Standing, TrainingStopped
from model.lockstep import begin
from model.recipes import RECIPES, fit_to_data, override
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.checkpoints import Snapshot, find_newest_checkpoint, resume_from, write_checkpoint
from pipeline.train.divergence import TrainingDiverged
from pipeline.train.layer_statistics import LayerMeter
from pipeline.train.monitor import TrainingMonitor, keep_resumable_on_failure

CONFIG = override(fit_to_data(RECIPES["modern"].config, 20, 3, 60), layers=(20, 8, 3), num_steps=1000)


def make_monitor(folder, policy, stop=None):
    start = Snapshot(Standing(0, begin(CONFIG)))
    return TrainingMonitor(
        CONFIG, start, [], stop or Event(), policy, partial(write_checkpoint, folder, CONFIG, (), policy.keep)
    )


def point(step, loss=0.25):
    return Progress(step, step * CONFIG.batch_size, loss, 3, 20, step / 1000)


def standing(step):
    return Standing(step, begin(CONFIG)._replace(step=tf.constant(step)), (), step / 1000)


def train_to(monitor, *steps):
    monitor.report(point(0, float("nan")), ())
    for step in steps:
        monitor.report(point(step), ())
        monitor.chunk_done(standing(step))


@contextmanager
def failing_with(kind, folder, monitor):
    with pytest.raises(kind) as caught, keep_resumable_on_failure(folder, folder / "run.json", monitor):
        yield caught


def steps_in(folder):
    return sorted(int(path.name.split("-")[1]) for path in folder.glob("checkpoints/*"))


@pytest.mark.parametrize(
    "problem", [SystemExit(143), TrainingStopped(), EngineFailed("gone"), OSError("full"), RuntimeError()]
)
def test_only_a_checkpoint_of_the_last_chunk_is_kept_on_failure(problem, tmp_path):
    folder = tmp_path / "run"
    monitor = make_monitor(folder, CheckpointPolicy(every=100))
    with failing_with(type(problem), folder, monitor):
        train_to(monitor, 100, 150)
        (folder / "parameters.safetensors").write_bytes(b"half of it")
        monitor.report(point(200), ())  # a report whose chunk did not end
        raise problem
    assert [path.name for path in folder.iterdir()] == ["checkpoints"]
    assert steps_in(folder) == [100, 150]
    snapshot = resume_from(find_newest_checkpoint(folder, CONFIG), begin(CONFIG), CONFIG)
    assert snapshot.standing.step == int(snapshot.standing.state.step) == 150
    assert [row.step for row in snapshot.curve] == [0, 100, 150]
    assert snapshot.curve[1:] == (point(100), point(150))


def test_layers_and_early_parameters_are_in_the_checkpoint(tmp_path):
    folder = tmp_path / "run"
    stop = Event()
    write = partial(write_checkpoint, folder, CONFIG, (), 1)
    sample = Examples(np.arange(9), np.full((9, 20), 99, np.uint8), np.arange(9) % 3)
    meter = LayerMeter(CONFIG, sample, 100)
    parameters = begin(CONFIG).parameters
    start = Snapshot(Standing(0, begin(CONFIG)))
    monitor = TrainingMonitor(CONFIG, start, [], stop, CheckpointPolicy(every=150), write, meter, (100,))
    monitor.report(point(0, float("nan")), parameters)
    for step in (100, 150):
        monitor.report(point(step), parameters)
        monitor.chunk_done(standing(step))
    snapshot = resume_from(find_newest_checkpoint(folder, CONFIG), begin(CONFIG), CONFIG)
    assert [(row.step, row.layer) for row in snapshot.layers] == [(0, 1), (0, 2), (100, 1), (100, 2)]
    assert snapshot.layers == tuple(monitor.layers)
    assert list(snapshot.early) == [100]
    for layer, expected in zip(snapshot.early[100], parameters, strict=True):
        np.testing.assert_array_equal(layer.weights, np.asarray(expected.weights).astype(np.float16))
    again = TrainingMonitor(CONFIG, snapshot, [], stop, CheckpointPolicy(), write, meter, (100,))
    assert (again.layers, list(again.early)) == (monitor.layers, [100])


def test_diverged_run_is_deleted(tmp_path):
    folder = tmp_path / "run"
    monitor = make_monitor(folder, CheckpointPolicy(every=100))
    with failing_with(TrainingDiverged, folder, monitor) as caught:
        train_to(monitor, 100)
        assert steps_in(folder) == [100]
        monitor.report(point(200, float("nan")), ())
    assert "the loss is nan at step 200" in str(caught.value)
    assert not folder.exists()


def test_original_error_is_raised_if_no_checkpoint_can_be_written(tmp_path, monkeypatch, capfd):
    def fail(path, data):
        raise StorageFailed("the disk is full")

    folder = tmp_path / "run"
    monitor = make_monitor(folder, CheckpointPolicy(every=0))
    monkeypatch.setattr("pipeline.train.checkpoints.write_atomically", fail)
    with failing_with(EngineFailed, folder, monitor):
        train_to(monitor, 100)
        raise EngineFailed("gone")
    assert "no checkpoint of step 100 could be written: the disk is full" in capfd.readouterr().err


@pytest.mark.parametrize("files", [[], ["run.json"]], ids=["no chunk", "complete"])
def test_run_without_a_finished_chunk_is_deleted_unless_it_is_complete(files, tmp_path):
    folder = tmp_path / "run"
    monitor = make_monitor(folder, CheckpointPolicy())
    folder.mkdir()
    with failing_with(SystemExit, folder, monitor):
        for name in files:
            (folder / name).write_bytes(b"{}")
        raise SystemExit(143)
    assert [path.name for path in folder.glob("*")] == files
    assert folder.exists() == bool(files)


def test_stop_is_checked_after_every_chunk(tmp_path):
    stop = Event()
    monitor = make_monitor(tmp_path / "run", CheckpointPolicy(), stop)
    train_to(monitor, 100)
    stop.set()
    with pytest.raises(TrainingStopped):
        monitor.chunk_done(standing(200))
    assert monitor.latest.step == 200


def test_no_checkpoint_is_written_at_the_last_step(tmp_path):
    monitor = make_monitor(tmp_path / "run", CheckpointPolicy(every=1))
    monitor.chunk_done(standing(CONFIG.num_steps))
    assert not (tmp_path / "run").exists()
