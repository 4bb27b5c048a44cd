"""The process that trains for a command: mostly without TensorFlow, as it imports `json` and calls `training_work`."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from model.errors import CorruptArtefact, EngineFailed
from pipeline import progress
from pipeline.storage.workspace import direct_temporary_files
from pipeline.train import training_process
from pipeline.train.divergence import TrainingDiverged
from pipeline.train.training_process import open_training_process
from tests.helpers import BACKBEAM, Digits, backbeam
from tests.pipeline.train import training_work

ROOT = Path(__file__).parents[3]
SERVER = """
import sys
from pipeline.train import training_process
training_process.IMPORTED = sys.argv[1]
training_process.serve(int(sys.argv[2]), sys.argv[3])
"""
DRIVER = """
import sys
from functools import partial
from pathlib import Path
from pipeline.processes import handle_signals
from pipeline.train import training_process
from tests.pipeline.train import training_work

handle_signals()
training_process.COMMAND = sys.argv[2:]
with training_process.open_training_process(Path("no workspace")) as trainer:
    assert trainer.wait_until_ready()
    trainer.call(partial(training_work.train, Path(sys.argv[1])))
"""


@pytest.fixture(autouse=True)
def light(monkeypatch):
    """Start processes that import `json` only; they find the tests by PYTHONPATH."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(training_process, "COMMAND", (sys.executable, "-c", SERVER, "json"))
    monkeypatch.setattr(training_process, "sys", Mock(modules={}))  # other tests may have imported TensorFlow


def call(function):
    """Call a function in a process, which inherits the standard error that the test captures."""
    with open_training_process(Path("no workspace")) as trainer:
        assert trainer.wait_until_ready()
        return trainer.call(function)


@pytest.mark.parametrize(("quiet", "expected"), [(False, ["a message", "a warning"]), (True, ["a warning"])])
def test_the_process_writes_messages_and_temporary_files_where_its_driver_does(quiet, expected, tmp_path, capfd):
    progress.configure(quiet)
    try:
        with direct_temporary_files(tmp_path):
            assert call(training_work.report) == (str(tmp_path), False)
    finally:
        progress.configure()
    assert [line.rpartition("Z ")[2] for line in capfd.readouterr().err.splitlines()] == expected


def test_a_command_with_a_log_file_trains_itself(tmp_path):
    progress.configure(log_file=tmp_path / "messages.txt")
    try:
        with open_training_process(tmp_path) as trainer:
            assert trainer is None
    finally:
        progress.configure()


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (training_work.find_damage, CorruptArtefact, "a file is corrupt; repair it"),
        (training_work.diverge, TrainingDiverged, "diverged: the loss is nan; lower weights_rate 5"),
        (training_work.fail_to_write, OSError, "No space left on device: 'parameters'"),
        (training_work.be_killed, EngineFailed, "the training failed: its process was killed by SIGKILL"),
        (training_work.be_terminated, EngineFailed, "the training failed: its process was terminated"),
    ],
)
def test_errors_are_raised_in_the_driver(function, error, message, capfd):
    with pytest.raises(error, match=message) as raised:
        call(function)
    assert type(raised.value) is error
    assert getattr(raised.value, "hint", None) == ("repair it" if error is CorruptArtefact else None)
    assert capfd.readouterr().err == ""


def test_the_traceback_of_a_mistake_is_a_note(capfd):
    with pytest.raises(ZeroDivisionError, match="of this code") as raised:
        call(training_work.make_a_mistake)
    assert "in make_a_mistake" in raised.value.__notes__[0]
    assert capfd.readouterr().err == ""


def test_a_process_that_cannot_import_is_not_ready(monkeypatch, capfd):
    monkeypatch.setattr(training_process, "COMMAND", (sys.executable, "-c", SERVER, "no_such_module"))
    with open_training_process(Path("no workspace")) as trainer:
        assert not trainer.wait_until_ready()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("imported", ["json", "slow_module"])
def test_the_process_is_killed_when_the_command_fails(imported, tmp_path, monkeypatch):
    (tmp_path / "slow_module.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")
    monkeypatch.setattr(training_process, "COMMAND", (sys.executable, "-c", SERVER, imported))
    with pytest.raises(ZeroDivisionError), open_training_process(tmp_path) as trainer:
        raise ZeroDivisionError
    assert trainer._process.returncode == -signal.SIGKILL


def test_a_workspace_that_has_a_run_is_served_by_the_driver(tmp_path, monkeypatch):
    monkeypatch.setattr(training_process, "TrainingProcess", lambda workspace: Mock())
    run = tmp_path / "runs" / "seed1"
    run.mkdir(parents=True)
    with open_training_process(tmp_path) as trainer:  # the run was interrupted
        assert trainer
    (run / "run.json").touch()
    with open_training_process(tmp_path) as trainer:
        assert trainer is None


def test_the_driver_trains_if_no_process_can_be_started(tmp_path, monkeypatch):
    monkeypatch.setattr(training_process, "COMMAND", ("/no such program",))
    with open_training_process(tmp_path) as trainer:
        assert trainer is None


def start_driver(started):
    command = [sys.executable, "-c", DRIVER, started, *training_process.COMMAND]
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (started.exists() and started.read_text()):
        assert driver.poll() is None
        time.sleep(0.005)
    return driver


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["to the command", "to the group"])
@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_stops_the_training_which_ends_well(send, number, kind, tmp_path):
    with start_driver(tmp_path / "started") as driver:
        send(driver.pid, number)
        written = driver.stderr.read()  # ends when neither process has it open
    assert driver.returncode == 128 + number
    assert [line.rpartition("Z ")[2] for line in written.splitlines()] == [
        f"backbeam: {kind}; what was complete is kept",
        "has a checkpoint",
    ]


def test_the_process_is_killed_with_its_driver(tmp_path):
    with start_driver(tmp_path / "started") as driver:
        driver.kill()
        assert driver.stderr.read() == ""  # ends when neither process has it open


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.thorough)])
def test_a_command_is_interrupted_while_the_process_imports_tensorflow(number, tmp_path):
    folder = Digits(num_train=40_000, num_test=10, height=28, width=28).write(tmp_path / "digits")
    workspace = tmp_path / "ws"
    command = [BACKBEAM, "run", "--workspace", workspace, "--dataset", folder]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as running:
        while running.poll() is None and not list(workspace.glob("datasets")):
            time.sleep(0.005)
        [child] = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        assert b"pipeline.train.training_process" in Path(f"/proc/{child}/cmdline").read_bytes()
        os.killpg(running.pid, number)
        written = running.stderr.read()
    assert running.returncode == 128 + number, written
    assert "Traceback" not in written
    assert not list(workspace.glob("*/*/*.json"))


@pytest.mark.thorough
def test_a_command_whose_training_is_interrupted_continues_from_a_checkpoint(tmp_path):
    folder = Digits().write(tmp_path / "digits")
    options = ("--workspace", tmp_path / "ws", "--dataset", folder, "--num-steps", 80_000)
    with subprocess.Popen([BACKBEAM, "run", *map(str, options)], stderr=subprocess.PIPE, text=True) as running:
        lines = []
        for line in running.stderr:
            lines.append(line)
            if "step   4000:" in line:
                running.send_signal(signal.SIGTERM)
    assert running.returncode == 143
    assert re.search(r"has a checkpoint of step \d+: the same command continues from it\n$", lines[-1])
    again = backbeam("run", *options)
    assert (again.code, "continuing from the checkpoint of step" in again.err) == (0, True)
