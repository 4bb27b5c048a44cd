"""The options of a command's process: its lock of the workspace, its messages and its output."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from pipeline.cli.options import AsJson, local_option, seconds_option
from pipeline.cli.output import OutputPart, print_result
from pipeline.progress import configure
from pipeline.storage.lock import lock_workspace
from pipeline.storage.places import Place


class IfLocked(StrEnum):
    """What a command does if another process still holds the workspace after waiting."""

    fail = "fail"
    skip = "skip"


@dataclass(frozen=True)
class LockOptions:
    """How a command locks its workspace."""

    HEADING: ClassVar = "Process"

    wait: Annotated[float, seconds_option("How long to wait for another process to be done with the workspace.")] = 0
    if_locked: Annotated[
        IfLocked,
        typer.Option("--if-locked", help="If another process works on the workspace: fail with code 6, or do nothing."),
    ] = IfLocked.fail

    def lock(self, workspace: Place, clears: bool = True) -> AbstractContextManager[None]:
        """Lock the workspace; with clears, remove temporary files that killed processes left."""
        return lock_workspace(workspace, self.wait, self.if_locked is IfLocked.skip, clears)


@dataclass(frozen=True)
class MessageOptions:
    """Which messages a command writes while it works, and where."""

    HEADING: ClassVar = "Process"

    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no messages but warnings and errors.")] = False
    log_file: Annotated[Path | None, local_option("FILE", "Add all messages, with their times, to a file.")] = None

    def configure_messages(self) -> None:
        """Apply the options to this process; raises OSError if the log file cannot be opened."""
        configure(self.quiet, self.log_file)

    def to_arguments(self) -> list[str]:
        """Return the arguments that give another command the same options."""
        quiet = ["--quiet"] if self.quiet else []
        log_file = ["--log-file", str(self.log_file)] if self.log_file else []
        return quiet + log_file


@dataclass(frozen=True)
class OutputOptions(MessageOptions):
    """Messages, and the format of the result."""

    as_json: AsJson = False

    def print_result(self, result: dict[str, Any], parts: Sequence[OutputPart]) -> None:
        """Print the result on standard output, as JSON or as text."""
        print_result(self.as_json, result, parts)


@dataclass(frozen=True)
class ProcessOptions(OutputOptions, LockOptions):
    """The options of a command that locks its workspace, those of the lock first."""
