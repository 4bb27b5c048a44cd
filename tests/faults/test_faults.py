"""Commands that fail at the Nth operation on the disk lose nothing, and a rerun completes."""

import os
import subprocess
import sys

import pytest

from tests.faults.failpoint import ROOT
from tests.faults.fork_server import Finished
from tests.faults.injection import MODES
from tests.faults.scenarios import COMMANDS, UNIQUE, fingerprint


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.sample])
def test_some_operations_fail(name, harness, record_property):
    record_property("faults injected", harness.sweep(name, COMMANDS[name].sample))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_operation_fails(name, harness, record_property):
    record_property("faults injected", harness.sweep(name, COMMANDS[name].every))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_fork_fails_like_a_new_process(name, scenarios, server, tmp_path, record_property):
    operations = scenarios.find(name).operations
    for position, mode in enumerate(MODES, 1):
        number = len(operations) * position // (len(MODES) + 1)
        failpoint = MODES[mode].format(number)
        fork_folder = scenarios.copy(name, tmp_path / f"{mode}-fork")
        new_folder = scenarios.copy(name, tmp_path / f"{mode}-new")
        fork = server.run(fork_folder, scenarios.arguments(name), failpoint)
        new = run_new_process(new_folder, scenarios.arguments(name), failpoint)
        assert (fork.code, fork.out) == (new.code, new.out) != (0, fork.out), (mode, number, new)
        if name != "seeds":  # its operations depend on the order of threads
            assert comparable_message(fork.err, fork_folder) == comparable_message(new.err, new_folder), (mode, number)
            assert fingerprint(fork_folder / "ws") == fingerprint(new_folder / "ws"), (mode, number)
    record_property("faults injected", 2 * len(MODES))


def run_new_process(folder, arguments, failpoint):
    command = [sys.executable, "-m", "tests.faults.failpoint", failpoint, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return Finished(done.returncode, done.stdout, done.stderr)


def comparable_message(text, folder):
    """Return the error messages without the folder and unique names."""
    messages = [line.replace(str(folder), "") for line in text.splitlines() if line.startswith("backbeam: ")]
    return [UNIQUE.sub("*", message) for message in messages]
