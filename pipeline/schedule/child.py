"""A scheduled run in a process of its own: its memory is given back, and its crash is not the scheduler's.

The scheduler holds the write end of the child's standard input and never writes. When the scheduler ends, even by
SIGKILL, the input ends too, and the child sends itself SIGTERM: it saves a checkpoint and unlocks the workspace.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress

# -P: a folder named "pipeline" in the current folder must not be imported instead of this package
COMMAND = (sys.executable, "-P", "-m", "pipeline.schedule.child")


class ChildProcess:
    """A command that was started; its standard error is the scheduler's. Raises OSError if it cannot be started."""

    def __init__(self, command: Sequence[str]) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by read_result
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
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
    """Return in a line what `retrain --json` printed."""
    try:
        result = json.loads(printed)
        what = result.get("nothing_run") or result["outcome"]
        return ": ".join([f"{result.get('run_id') or ''} {what}".strip(), *result.get("reasons", [])[:1]])
    except (ValueError, AttributeError, KeyError, TypeError):
        return "the run ended with code 0, but printed no result"


def end_with_parent() -> None:
    """Wait for the end of standard input, then terminate this process; to be called in a thread."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    from pipeline.cli import main

    threading.Thread(target=end_with_parent, daemon=True).start()
    main()
