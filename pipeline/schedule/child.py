"""A scheduled run is a child process, so that its memory is freed and its crash does not end the scheduler.

When the scheduler ends, even by SIGKILL, the child is terminated too: it saves a checkpoint and unlocks the workspace.
"""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress

from pipeline.processes import start_child


class ChildProcess:
    """A running command, which inherits standard error. Raises OSError if it cannot be started."""

    def __init__(self, command: Sequence[str]) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by read_result
        self._process = start_child(
            command,
            stdout=self._output,
            process_group=0,  # a terminal's Ctrl-C reaches the scheduler alone, and `kill` reaches all workers
        )
        self.send_signal = self._process.send_signal

    def wait(self, seconds: float) -> int | None:
        """Wait for the end; return the exit code, negative if a signal killed it, or None if it still runs."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode

    def kill(self) -> None:
        """Kill the process and its workers."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def read_outcome(self) -> str:
        """Return the result of the ended process in a line; to be called once."""
        self._process.communicate()  # closes the standard input
        with self._output as stream:
            stream.seek(0)
            printed = stream.read()
        code = self._process.returncode
        if code:
            return f"signal {-code} killed the run" if code < 0 else f"code {code}; the run's message stands above"
        return describe_result(printed)


def describe_result(printed: bytes) -> str:
    """Return the output of `retrain --json` as one line: the run, the outcome and the first reason."""
    try:
        result = json.loads(printed)
        outcome = result.get("nothing_run") or result["outcome"]
        return ": ".join([f"{result.get('run_id') or ''} {outcome}".strip(), *result.get("reasons", [])[:1]])
    except (ValueError, AttributeError, KeyError, TypeError):
        return "the run ended with code 0, but printed no result"
