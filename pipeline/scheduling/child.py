"""A run as a process of its own: its memory is given back, and if it crashes the scheduler does not."""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pipeline.child_process import start_child

COMMAND_LINE = (sys.executable, "-m", "pipeline.scheduling.ward")


class Child:
    """A process that was started, and what it answers. Its standard error is the scheduler's."""

    def __init__(self, command: Sequence[str]) -> None:
        self._answer = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it is read
        self._process = start_child(
            command,
            stdout=self._answer,
            process_group=0,  # Ctrl-C is for the scheduler, which passes it on; and a kill is for its workers too
        )

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return its exit code, negative if a signal killed it; None while it works."""
        return self._process.poll()

    def ask_to_end(self, number: int) -> None:
        """Pass a signal on."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, with all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def answer(self) -> dict[str, Any]:
        """Return the JSON object that it printed; an empty one if it printed none. To be asked once, at its end."""
        with self._answer as stream:
            stream.seek(0)
            printed = stream.read()
        if self._process.stdin:
            self._process.stdin.close()
        try:
            found = json.loads(printed)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}
