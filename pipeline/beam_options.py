"""The options for Beam that a command or a caller gives, checked when they are read.

A job would check them too late, and little data need no job. Beam takes seconds to import, so it is imported only if
there are options.
"""

from collections.abc import Sequence
from typing import Any

from model.errors import BadUsage, argparse_failures
from pipeline.beam_runner import add_workers, beam_arguments, find_build_only_options
from pipeline.context import quiet_imports
from pipeline.progress import warn

# Runners that send the job to a server, which may be written in Java and have options of its own.
_JOB_SERVER_RUNNERS = ("portable", "flink", "spark", "prism")


def read_beam_options(arguments: Sequence[str], num_workers: int | None) -> tuple[str, ...]:
    """Return the user's options for Beam with those that start worker processes on this machine.

    Raises BadUsage as `add_workers`, and if Beam does not know an option or the engine, or cannot load the engine.
    """
    given = add_workers(arguments, num_workers)
    if arguments:
        _check(given)
    return given


def _check(arguments: Sequence[str]) -> None:
    with quiet_imports():
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.runners.runner import create_runner
    with argparse_failures("Beam"):
        options = PipelineOptions(beam_arguments(arguments))
        options.get_all_options()  # parses the values
    _check_options_known(options)
    find_build_only_options(options)
    try:
        with quiet_imports():
            create_runner(options.get_all_options()["runner"])
    except (ValueError, ImportError) as problem:  # unknown runner, or its package is not installed
        raise BadUsage(f"Beam: {problem}") from problem


def _check_options_known(options: Any) -> None:
    """Refuse options that Beam does not know, which could run the job elsewhere if they are misspelt.

    With a job server's runner warn, as Beam does: the server may know options of its own, such as --object_reuse.
    """
    known = options.get_all_options(retain_unknown_options=False)
    unknown = sorted(set(options.get_all_options(retain_unknown_options=True)) - set(known))
    names = ", ".join("--" + name for name in unknown)
    runner = known["runner"].rpartition(".")[2].lower().removesuffix("runner")  # Beam takes all of these spellings
    if unknown and runner not in _JOB_SERVER_RUNNERS:
        raise BadUsage(f"options that Beam does not know: {names}")
    if unknown:
        warn(f"warning: options that Beam does not know, and the job server may: {names}")
