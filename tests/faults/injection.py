"""Interrupt a command at one operation on the disk, and check the workspace after it and after a rerun."""

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from pipeline.schedule.metrics_file import HELP
from tests.faults.scenarios import COMMANDS, FIGURES, UNIQUE, Scenarios, artefacts, committed, faults, fingerprint
from tests.helpers import Finished

# The failpoint for each mode of failure: killed, one error, or full from that operation on.
MODES = {"kill": "{}:kill", "ENOSPC": "{}:ENOSPC", "EIO": "{}:EIO", "EACCES": "{}:EACCES", "full": "{}+:ENOSPC"}
STORAGE = 5  # the documented exit code

Run = Callable[[Path, tuple[str, ...], str | None], Finished]


class Injection(NamedTuple):
    """A fault: the name of the command, the number of its operation, and a key of MODES."""

    name: str
    number: int
    mode: str


class Harness:
    """Injects faults, one at a time, because parallel forks of a process with TensorFlow slow each other down."""

    def __init__(self, scenarios: Scenarios, run: Run, folder: Path) -> None:
        self._scenarios = scenarios
        self._run = run
        self._folder = folder
        self._rerun = set[tuple[str, str]]()  # (name, fingerprint) of the workspaces in which a rerun was checked
        self.injected = 0

    def sweep(self, name: str, every: int) -> int:
        """Inject faults of every mode at one in `every` operations; return the number of injected faults."""
        injected_before = self.injected
        num_operations = len(self._scenarios.find(name).operations)
        for number in range(every // 2 + 1, num_operations + 1, every):
            for mode in MODES:
                self.inject(Injection(name, number, mode))
        return self.injected - injected_before

    def inject(self, injection: Injection) -> None:
        """Interrupt a command, and check the workspace then and after a rerun.

        The result of a rerun depends only on the workspace, so it is checked once for each different workspace.
        """
        folder = self._folder / "-".join(map(str, injection))
        self._interrupt(injection, folder)
        state = (injection.name, fingerprint(folder / "ws") + str(list_figures(folder)))
        if state not in self._rerun:
            self._rerun.add(state)
            self._check_rerun(injection, folder)
        shutil.rmtree(folder)

    def _interrupt(self, injection: Injection, folder: Path) -> None:
        name, number, mode = injection
        workspace = self._scenarios.copy(name, folder) / "ws"
        log = folder / "operations.txt"
        finished = self._run(folder, self._scenarios.arguments(name), f"{MODES[mode].format(number)}:{log}")
        operations = log.read_text().splitlines()
        if len(operations) < number:  # the number of operations depends on the order of threads
            assert finished.code == 0, (injection, finished)
            return
        self.injected += 1
        check_message(injection, finished, operations[number - 1])
        scenario = self._scenarios.find(name)
        check_unchanged(scenario.files, workspace, COMMANDS[name].replaces)
        list_figures(folder)  # the file is whole
        faults_now = {fault.replace(str(folder), str(scenario.before)) for fault in faults(workspace)}
        assert faults_now <= scenario.faults, (injection, faults_now)

    def _check_rerun(self, injection: Injection, folder: Path) -> None:
        rerun = self._run(folder, self._scenarios.arguments(injection.name), None)
        assert rerun.code == 0, (injection, rerun)
        found = artefacts(folder / "ws")
        expected = self._scenarios.find(injection.name).after
        differing = [path for path in sorted({*found, *expected}) if found.get(path) != expected.get(path)]
        assert not differing, (injection, differing)
        expected_figures = {FIGURES: 0.0} if COMMANDS[injection.name].warns_about else {}
        assert list_figures(folder) == expected_figures, injection


def check_message(injection: Injection, finished: Finished, operation: str) -> None:
    if injection.mode == "kill":
        assert finished.code == -signal.SIGKILL, (injection, finished)
        return
    code = getattr(errno, "ENOSPC" if injection.mode == "full" else injection.mode)
    path = operation.split()[-1]
    warns_about = COMMANDS[injection.name].warns_about
    if warns_about and warns_about in path:
        check_warning(injection, finished, warns_about, os.strerror(code))
        return
    [message] = [line for line in finished.err.splitlines() if line.startswith("backbeam: ")]
    assert (finished.code, finished.out) == (STORAGE, ""), (injection, finished)
    assert message.startswith("backbeam: storage: "), (injection, message)
    assert os.strerror(code) in message, (injection, message)
    assert path in message, (injection, message)
    assert "Traceback" not in finished.err, (injection, finished)


def check_warning(injection: Injection, finished: Finished, name: str, reason: str) -> None:
    """Check that the command has succeeded, and warned about a file that it could not write."""
    assert (finished.code, bool(finished.out)) == (0, True), (injection, finished)
    assert [line for line in finished.err.splitlines() if "warning: " in line and name in line and reason in line], (
        injection,
        finished,
    )


def list_figures(folder: Path) -> dict[str, float | None]:
    """Return the exit code in each file of metrics beside the workspace, by name; None for temporary ones."""
    found = [path for path in sorted(folder.iterdir()) if FIGURES in path.name]
    return {UNIQUE.sub("*", path.name): read_exit_code(path) if path.name == FIGURES else None for path in found}


def read_exit_code(figures: Path) -> float:
    """Return the exit code in a file of metrics, which must be whole."""
    families = text_string_to_metric_families(figures.read_text())
    values = {sample.name: sample.value for family in families for sample in family.samples}
    assert {name for name in HELP if name.startswith("backbeam_last_")} <= {*values}, figures
    return values["backbeam_last_exit_code"]


def check_unchanged(before: dict[str, bytes], workspace: Path, replaced: tuple[str, ...] = ()) -> None:
    after = committed(workspace)
    for path, data in before.items():
        if not any(Path(path).match(pattern) for pattern in replaced):
            assert after.get(path) == data, f"{workspace / path} has changed"
