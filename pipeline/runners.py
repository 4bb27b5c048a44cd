"""Running a Beam pipeline: which engine, with which options, and what became of it.

This file handles Beam's classes without importing them; `preprocess` and `evaluate` hand them in.
"""

import argparse
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from model import errors

# Beam's own DirectRunner first tries to download and execute a binary. Here the name means what it says.
_IN_PROCESS = {"directrunner", "fnapirunner"}
IN_PROCESS_RUNNER = "FnApiRunner"


def beam_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments for Beam with the local engine, in this process, unless they name another."""
    stray = [argument for argument in arguments[:1] if not argument.startswith("--")]
    if stray:
        raise errors.BadUsage(f"options for Beam begin with --; found {stray[0]!r}")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner", default=IN_PROCESS_RUNNER)
    named, rest = parser.parse_known_args(list(arguments))
    return [*rest, f"--runner={IN_PROCESS_RUNNER if named.runner.lower() in _IN_PROCESS else named.runner}"]


def execute(beam: ModuleType, options_class: Any, arguments: Sequence[str], construct: Callable[[Any], object]) -> None:
    """Build a pipeline, run it and wait for its end.

    Args:
        beam: the package apache_beam.
        options_class: its PipelineOptions.
        arguments: what the user gave for Beam.
        construct: applies the job's transforms to a pipeline.

    Raises:
        BadUsage: an option is none that Beam or the engine knows.
        EngineFailed: the job ended in any state but DONE.
        BackbeamError: as raised by the job's own code in a worker.
    """
    options = options_class(beam_arguments(arguments))
    _check_known(options)
    try:
        pipeline = beam.Pipeline(options=options)
    except (ValueError, ImportError) as problem:  # no such runner, or its package is missing
        raise errors.BadUsage(f"Beam: {problem}") from problem
    construct(pipeline)
    try:
        result = pipeline.run()
        state = result.wait_until_finish()
    except Exception as problem:  # engines raise what they like
        raise _translate(problem) from problem
    if state != "DONE":
        raise errors.EngineFailed(f"the engine ended in state {state}, expected DONE")


def _check_known(options: Any) -> None:
    """Refuse options that Beam would discard with a warning: a misspelt engine option must not run elsewhere."""
    known = options.get_all_options(retain_unknown_options=False)
    unknown = sorted(set(options.get_all_options(retain_unknown_options=True)) - set(known))
    if unknown:
        raise errors.BadUsage(f"options that Beam does not know: {', '.join('--' + name for name in unknown)}")


def _translate(problem: Exception) -> errors.BackbeamError:
    """Find our own error in what an engine raised; engines carry a worker's error as text."""
    found = errors.recover(problem)
    if found is not None:
        return found
    lines = [line for line in str(problem).splitlines() if line.strip()]
    return errors.EngineFailed(f"the engine failed: {type(problem).__name__}: {lines[-1] if lines else ''}")
