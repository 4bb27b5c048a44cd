"""Commands that fail at the Nth operation on the disk: nothing is lost, and the same command again completes."""

import os
import subprocess
import sys

import pytest

from tests.faults.failpoint import ROOT
from tests.faults.injection import MODES
from tests.faults.worlds import COMMANDS, ONCE, fingerprint
from tests.faults.zygote import Ended


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.sample])
def test_some_operations_fail(name, harness, record_property):
    record_property("faults injected", harness.sweep(name, COMMANDS[name].sample))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_operation_fails(name, harness, record_property):
    record_property("faults injected", harness.sweep(name, COMMANDS[name].every))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_process_of_its_own_fails_as_a_fork_does(name, worlds, zygote, tmp_path, record_property):
    operations = worlds.find(name).operations
    for place, mode in enumerate(MODES, 1):
        number = len(operations) * place // (len(MODES) + 1)
        failpoint = MODES[mode].format(number)
        forked, real = worlds.copy(name, tmp_path / f"{mode}-forked"), worlds.copy(name, tmp_path / f"{mode}-real")
        ended = zygote.run(forked, worlds.arguments(name), failpoint)
        again = in_folder(real, worlds.arguments(name), failpoint)
        assert (ended.code, ended.out) == (again.code, again.out) != (0, ended.out), (mode, number, again)
        if name != "seeds":  # whose threads take turns
            assert unique(ended.err, forked) == unique(again.err, real), (mode, number)
            assert fingerprint(forked / "ws") == fingerprint(real / "ws"), (mode, number)
    record_property("faults injected", 2 * len(MODES))


def in_folder(folder, arguments, failpoint):
    command = [sys.executable, "-m", "tests.faults.failpoint", failpoint, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return Ended(done.returncode, done.stdout, done.stderr)


def unique(text, folder):
    """The message of an error, without names that are used once."""
    said = [line.replace(str(folder), "") for line in text.splitlines() if line.startswith("backbeam: ")]
    return [ONCE.sub("*", line) for line in said]
