"""What a run that is broken off leaves, by how it ends."""

from contextlib import contextmanager
from functools import partial
from threading import Event

import pytest
import tensorflow as tf

from model.errors import EngineFailed, StorageFailed
from model.fitting import Progress, Standing
from model.lockstep import begin
from model.recipes import RECIPES, fit_to_data, override
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.checkpoints import Snapshot, find_newest_checkpoint, resume_from, write_checkpoint
from pipeline.train.monitor import TrainingDiverged, TrainingMonitor, TrainingStopped, keep_resumable_on_failure

CONFIG = override(fit_to_data(RECIPES["modern"].config, 20, 3, 60), num_steps=1000)


def journal(folder, saving, stop=None):
    start = Snapshot(Standing(0, begin(CONFIG)))
    return TrainingMonitor(
        CONFIG, start, [], stop or Event(), saving, partial(write_checkpoint, folder, CONFIG, (), saving.keep)
    )


def point(step, loss=0.25):
    return Progress(step, step * CONFIG.batch_size, loss, 3, 20, step / 1000)


def standing(step):
    return Standing(step, begin(CONFIG)._replace(step=tf.constant(step)), (), step / 1000)


def go(ours, *steps):
    ours.report(point(0, float("nan")), ())
    for step in steps:
        ours.report(point(step), ())
        ours.chunk_done(standing(step))


@contextmanager
def ended_by(kind, folder, ours):
    with pytest.raises(kind) as caught, keep_resumable_on_failure(folder, folder / "run.json", ours):
        yield caught


def steps_in(folder):
    return sorted(int(path.name.split("-")[1]) for path in folder.glob("checkpoints/*"))


@pytest.mark.parametrize(
    "problem", [SystemExit(143), TrainingStopped(), EngineFailed("gone"), OSError("full"), RuntimeError()]
)
def test_the_last_finished_chunk_is_left_and_nothing_else(problem, tmp_path):
    folder, ours = tmp_path / "run", journal(tmp_path / "run", CheckpointPolicy(every=100))
    with ended_by(type(problem), folder, ours):
        go(ours, 100, 150)
        (folder / "parameters.safetensors").write_bytes(b"half of it")
        ours.report(point(200), ())  # a report that is in before its chunk is
        raise problem
    assert [path.name for path in folder.iterdir()] == ["checkpoints"]
    assert steps_in(folder) == [100, 150]
    found = resume_from(find_newest_checkpoint(folder, CONFIG), begin(CONFIG))
    assert found.standing.step == int(found.standing.state.step) == 150
    assert [each.step for each in found.curve] == [0, 100, 150]
    assert found.curve[1:] == (point(100), point(150))


def test_a_run_that_diverges_leaves_nothing(tmp_path):
    folder, ours = tmp_path / "run", journal(tmp_path / "run", CheckpointPolicy(every=100))
    with ended_by(TrainingDiverged, folder, ours) as caught:
        go(ours, 100)
        assert steps_in(folder) == [100]
        ours.report(point(200, float("nan")), ())
    assert "the loss is nan at step 200" in str(caught.value)
    assert not folder.exists()


def test_a_run_that_has_not_begun_leaves_nothing(tmp_path):
    folder, ours = tmp_path / "run", journal(tmp_path / "run", CheckpointPolicy())
    folder.mkdir()
    with ended_by(SystemExit, folder, ours):
        raise SystemExit(143)
    assert not folder.exists()


def test_what_ended_the_run_is_said_though_no_checkpoint_can_be_written(tmp_path, monkeypatch, capfd):
    def refuse(path, data):
        raise StorageFailed("the disk is full")

    folder, ours = tmp_path / "run", journal(tmp_path / "run", CheckpointPolicy(every=0))
    monkeypatch.setattr("pipeline.train.checkpoints.write_atomically", refuse)
    with ended_by(EngineFailed, folder, ours):
        go(ours, 100)
        raise EngineFailed("gone")
    assert "no checkpoint of step 100 could be written: the disk is full" in capfd.readouterr().err


def test_a_complete_run_is_left_as_it_is(tmp_path):
    folder, ours = tmp_path / "run", journal(tmp_path / "run", CheckpointPolicy(every=100))
    folder.mkdir()
    with ended_by(SystemExit, folder, ours):
        (folder / "run.json").write_bytes(b"{}")
        raise SystemExit(143)
    assert [path.name for path in folder.iterdir()] == ["run.json"]


def test_a_stop_is_heard_after_each_chunk(tmp_path):
    stop = Event()
    ours = journal(tmp_path / "run", CheckpointPolicy(), stop)
    go(ours, 100)
    stop.set()
    with pytest.raises(TrainingStopped):
        ours.chunk_done(standing(200))
    assert ours.latest.step == 200


def test_no_checkpoint_of_the_last_step(tmp_path):
    ours = journal(tmp_path / "run", CheckpointPolicy(every=1))
    ours.chunk_done(standing(CONFIG.num_steps))
    assert not (tmp_path / "run").exists()
