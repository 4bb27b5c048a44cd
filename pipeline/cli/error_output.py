"""End a command that failed: its message on standard error, with --json an object on standard output, its exit code."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from signal import SIGINT
from typing import Any, NamedTuple, NoReturn

import typer

from model.errors import BackbeamError, BadUsage, StorageFailed
from pipeline.cli.output import is_json_printed, print_json, start_output
from pipeline.progress import log_error, print_error

_UsageError: Any = typer.BadParameter.__base__  # the versions of Typer have it in different modules
_HELP_WAS_SHOWN = "NoArgsIsHelpError"  # the class of Typer's usage error for a command line without a command


class ErrorReport(NamedTuple):
    """The fields of an error in JSON."""

    code: int  # the exit code
    kind: str  # the name of the error's class; Interrupted or Terminated for a signal
    message: str
    hint: str | None = None  # what to do, where the error says it separately


@contextmanager
def report_errors(as_json: bool, received: Sequence[int]) -> Iterator[None]:
    """Report an error of the context, and exit with its code.

    The signal handler prints interruptions. `received` has the numbers of the signals.
    """
    start_output()
    try:
        yield
    except BackbeamError as problem:
        if received:  # an in-process engine turns the exit that a signal raises into a failed bundle
            _exit(as_json, _describe_signal(received[0]))
        _fail(as_json, ErrorReport(problem.exit_code, type(problem).__name__, str(problem), problem.hint))
    except OSError as problem:
        message = f"storage: {_describe_storage_error(problem)}"
        _fail(as_json, ErrorReport(StorageFailed.exit_code, StorageFailed.__name__, message))
    except _UsageError as problem:
        if type(problem).__name__ == _HELP_WAS_SHOWN:
            sys.exit(problem.exit_code)
        _fail(as_json, _describe_usage_error(problem))
    except SystemExit:
        if received:
            _exit(as_json, _describe_signal(received[0]))
        raise


def _describe_storage_error(problem: OSError) -> str:
    # The system names no file if it is asked for the current folder.
    is_current_folder = isinstance(problem, FileNotFoundError) and problem.filename is None
    return "the current folder was deleted: change to one that exists" if is_current_folder else str(problem)


def _fail(as_json: bool, report: ErrorReport) -> NoReturn:
    log_error(report.message)
    print_error(report.message, code=report.code, kind=report.kind)
    _exit(as_json, report)


def _exit(as_json: bool, report: ErrorReport) -> NoReturn:
    """Print the report as JSON, unless a result was printed, which stays the only object; exit with its code."""
    if as_json and not is_json_printed():
        with suppress(StorageFailed, SystemExit):  # a lost report must not hide the error's own exit code
            print_json({"error": report._asdict()})
    sys.exit(report.code)


def _describe_signal(number: int) -> ErrorReport:
    kind = "Interrupted" if number == SIGINT else "Terminated"
    hint = "the same command continues where it stopped"
    return ErrorReport(128 + number, kind, f"{kind.lower()}; what was complete is kept", hint)


def _describe_usage_error(problem: Any) -> ErrorReport:
    text = problem.format_message().removeprefix("Invalid value: ").removesuffix(".")
    if problem.ctx is None:
        return ErrorReport(problem.exit_code, BadUsage.__name__, text)
    program = problem.ctx.find_root().info_name
    command = f"{program} {problem.ctx.info_name}" if problem.ctx.parent else program  # also one inside `schedule`
    hint = f"{command} --help"
    return ErrorReport(problem.exit_code, BadUsage.__name__, f"{text}; see `{hint}`", hint)
