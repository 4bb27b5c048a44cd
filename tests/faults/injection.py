"""One fault: a command is broken off at one operation on the disk, and the world is looked at after it."""

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.faults.worlds import COMMANDS, Worlds, artefacts, committed, faults, fingerprint
from tests.faults.zygote import Ended

# How an operation fails: the process is killed, the disk refuses once, or it is full from then on.
MODES = {"kill": "{}:kill", "ENOSPC": "{}:ENOSPC", "EIO": "{}:EIO", "EACCES": "{}:EACCES", "full": "{}+:ENOSPC"}
STORAGE = 5  # the documented exit code

Run = Callable[[Path, tuple[str, ...], str | None], Ended]


class Injection(NamedTuple):
    """A fault: at which operation of which command, and how it fails."""

    name: str
    number: int
    mode: str


class Harness:
    """Injects faults, one at a time: two forks of a process that has TensorFlow get in each other's way."""

    def __init__(self, worlds: Worlds, run: Run, folder: Path) -> None:
        """Begin.

        Args:
            worlds: of the commands.
            run: runs a command.
            folder: for the worlds that are broken.
        """
        self._worlds, self._run, self._folder = worlds, run, folder
        self._rerun = set[tuple[str, str]]()
        self.injected = 0

    def sweep(self, name: str, every: int) -> int:
        """Inject faults of every mode at each operation, or at one in so many; return how many were injected."""
        earlier, num_operations = self.injected, len(self._worlds.find(name).operations)
        for number in range(every // 2 + 1, num_operations + 1, every):
            for mode in MODES:
                self.inject(Injection(name, number, mode))
        return self.injected - earlier

    def inject(self, injection: Injection) -> None:
        """Break a command off, and check all that must hold then, and once the command is given again.

        The last of that depends on what was left alone, so it is left out where the same was left before.
        """
        folder = self._folder / "-".join(map(str, injection))
        self._break_off(injection, folder)
        left = injection.name, fingerprint(folder / "ws")
        if left not in self._rerun:
            self._rerun.add(left)
            self._check_rerun(injection, folder)
        shutil.rmtree(folder)

    def _break_off(self, injection: Injection, folder: Path) -> None:
        name, number, mode = injection
        workspace, listed = self._worlds.copy(name, folder) / "ws", folder / "operations.txt"
        world = self._worlds.find(name)
        failpoint = f"{MODES[mode].format(number)}:{listed}"
        ended = self._run(folder, self._worlds.arguments(name), failpoint)
        operations = listed.read_text().splitlines()
        if len(operations) < number:  # threads may have done with fewer
            assert ended.code == 0, (injection, ended)
            return
        self.injected += 1
        check_told(injection, ended, operations[number - 1])
        check_kept(world.files, workspace, COMMANDS[name].replaces)
        told = {fault.replace(str(folder), str(world.before)) for fault in faults(workspace)}
        assert told <= world.faults, (injection, told)

    def _check_rerun(self, injection: Injection, folder: Path) -> None:
        again = self._run(folder, self._worlds.arguments(injection.name), None)
        assert again.code == 0, (injection, again)
        found, expected = artefacts(folder / "ws"), self._worlds.find(injection.name).after
        differing = [path for path in sorted({*found, *expected}) if found.get(path) != expected.get(path)]
        assert not differing, (injection, differing)


def check_told(injection: Injection, ended: Ended, operation: str) -> None:
    """A disk that refuses ends a command with one message: what was refused, where, why, and what to do."""
    if injection.mode == "kill":
        assert ended.code == -signal.SIGKILL, (injection, ended)
        return
    code = getattr(errno, "ENOSPC" if injection.mode == "full" else injection.mode)
    _, *words = operation.split()
    place = words[-1]
    [said] = [line for line in ended.err.splitlines() if line.startswith("backbeam: ")]
    assert (ended.code, ended.out) == (STORAGE, ""), (injection, ended)
    assert said.startswith("backbeam: storage: "), (injection, said)
    assert os.strerror(code) in said, (injection, said)
    assert place in said, (injection, said)
    assert "Traceback" not in ended.err, (injection, ended)


def check_kept(before: dict[str, bytes], workspace: Path, replaced: tuple[str, ...] = ()) -> None:
    """What was there is there, but for what the command was to replace."""
    after = committed(workspace)
    for path, data in before.items():
        if not any(Path(path).match(pattern) for pattern in replaced):
            assert after.get(path) == data, f"{workspace / path} is not what it was"
