"""What people see while a command works, always on standard error: standard output is for results."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

console = Console(stderr=True, highlight=False)


def download_progress(visible: bool) -> Progress:
    """Return a progress display for bytes: amount, rate and time left."""
    return _progress(visible, DownloadColumn(), TransferSpeedColumn())


def training_progress(visible: bool) -> Progress:
    """Return a progress display for steps: steps done, loss and right answers so far, time left."""
    return _progress(visible, MofNCompleteColumn(), TextColumn("{task.fields[note]}"))


def _progress(visible: bool, *columns: ProgressColumn) -> Progress:
    every = (TextColumn("{task.description}"), BarColumn(), *columns, TimeRemainingColumn())
    return Progress(*every, console=console, disable=not (visible and console.is_terminal), transient=True)
