"""Checks of the values of options, for Typer to call."""

import math
from pathlib import Path

import typer

from pipeline.storage.places import is_remote

MOST_REASON = 1000  # characters
MOST_SECONDS = 366 * 86_400


def local_folder(folder: str | Path) -> Path:
    """Return a folder or file of this machine; raises BadParameter for a URI, which would become a local name."""
    if is_remote(str(folder)):
        raise typer.BadParameter(f"{folder} is a URI, and this is a folder of this machine")
    return Path(folder)


def refuse_nan(seconds: float) -> float:
    """Return a number; raises BadParameter if it is NaN, which no comparison with a limit detects."""
    if math.isnan(seconds):
        raise typer.BadParameter("nan is not a number of seconds")
    return seconds


def refuse_long_reason(reason: str) -> str:
    """Return a reason; raises BadParameter if it is too long for the history."""
    if len(reason) > MOST_REASON:
        raise typer.BadParameter(f"{len(reason):,} characters, expected at most {MOST_REASON:,}")
    return reason
