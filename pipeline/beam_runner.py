"""Running a Beam pipeline: which engine, with which options, and what became of it.

This file handles Beam's classes without importing them; `preprocess` and `evaluate` hand them in.
"""

import argparse
import hashlib
import os
import re
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TextIO, TypeVar

import model
import pipeline
from model import errors
from model.errors import EngineFailed
from pipeline.progress import open_messages
from pipeline.storage.files import remove_file, write_atomically

# Beam's own DirectRunner first tries to download and execute a binary. Here the name means what it says.
_IN_PROCESS = {"directrunner", "fnapirunner"}
IN_PROCESS_RUNNER = "FnApiRunner"

CHILD_OF_JOB_SERVICE = "beam:env:harness_subprocess_python:v1"

# How a worker fails that cannot load what a driver of another version, or with another package of that name, sends.
_OTHER_CODE = re.compile(
    r"^\w+Error: (No module named '(?:pipeline|model)\b.*|.*\bmodule '(?:pipeline|model)\b.*)$", re.MULTILINE
)

# Options by which Dataflow builds a job and does not run it; other engines ignore them and would run it.
_BUILD_ONLY_OPTIONS = ("dry_run", "template_location")

# What --workers decides, so that nothing else may.
_WORKER_OPTIONS = ("--runner", "--direct_running_mode", "--direct_num_workers")


def beam_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments for Beam with the local engine, in this process, unless they name another.

    Beam would also pickle the main module for its workers; ours holds nothing they need, so that is left out unless
    the user asks for it.
    """
    stray = [argument for argument in arguments[:1] if not argument.startswith("--")]
    if stray:
        raise errors.BadUsage(f"options for Beam begin with --; found {stray[0]!r}")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner", default=IN_PROCESS_RUNNER)
    named, rest = parser.parse_known_args(list(arguments))
    runner = IN_PROCESS_RUNNER if named.runner.lower() in _IN_PROCESS else named.runner
    pickled = [] if "--save_main_session" in rest else ["--no_save_main_session"]
    return [*rest, *pickled, f"--runner={runner}"]


def runs_locally(arguments: Sequence[str]) -> bool:
    """Tell whether all work is done on this machine, by the user's options for Beam, so that its files will do."""
    return f"--runner={IN_PROCESS_RUNNER}" in beam_arguments(arguments)


def add_workers(arguments: Sequence[str], num_workers: int | None) -> tuple[str, ...]:
    """Add to the user's options for Beam that num_workers processes of this machine share the work.

    Args:
        arguments: the user's options for Beam.
        num_workers: 1 is this process alone; None leaves the arguments as they are.

    Raises:
        BadUsage: the arguments choose an engine or its workers themselves, or say how to reach a store.
    """
    _check_no_store(arguments)
    if num_workers is None:
        return tuple(arguments)
    own = [argument for argument in arguments if argument.split("=")[0] in _WORKER_OPTIONS]
    if own:
        raise errors.BadUsage(
            f"--workers {num_workers} and {own[0]} (after --) both choose the engine or its workers: leave one out"
        )
    if num_workers == 1:
        return tuple(arguments)
    return (*arguments, "--direct_running_mode=multi_processing", f"--direct_num_workers={num_workers}")


def run_pipeline(
    beam: ModuleType, options_class: Any, arguments: Sequence[str], construct: Callable[[Any], object]
) -> None:
    """Build a pipeline, run it and wait for its end.

    Args:
        beam: the package apache_beam.
        options_class: its PipelineOptions.
        arguments: what the user gave for Beam.
        construct: applies the job's transforms to a pipeline.

    Raises:
        BadUsage: an option is none that Beam or the engine knows.
        NothingRun: the options ask for a job that is built only.
        EngineFailed: the job ended in any state but DONE.
        BackbeamError: as raised by the job's own code in a worker.
    """
    options = options_class(beam_arguments(arguments))
    _check_known(options)
    build_only = _asked_to_build_only(options)
    _keep_from_current_folder(options.view_as(beam.options.pipeline_options.PortableOptions))
    try:
        pipeline = beam.Pipeline(options=options)
    except (ValueError, ImportError) as problem:  # no such runner, or its package is missing
        raise errors.BadUsage(f"Beam: {problem}") from problem
    if isinstance(pipeline.runner, beam.runners.portability.fn_api_runner.FnApiRunner):
        from pipeline.beam_workers import use_own_workers

        use_own_workers()
    construct(pipeline)
    try:
        with _servers_stopped(pipeline.runner):
            state = _wait(pipeline.run())
    except Exception as problem:  # engines raise what they like
        raise _translate(problem) from problem
    if build_only:
        raise errors.NothingRun(
            f"{build_only}: the job was built and not run, so it made nothing; to run it, leave the option out"
        )
    if state != "DONE":
        raise errors.EngineFailed(f"the engine ended in state {state}, expected DONE")


def _wait(result: Any) -> Any:
    """Wait for a job's end and return its state; if waiting ends before that, for whatever reason, so is the job.

    Else a cluster would go on, and write to a workspace that was cleared.
    """
    try:
        return result.wait_until_finish()
    except BaseException:
        with suppress(Exception):  # the engine may be gone, or know no way to cancel; what came first counts
            result.cancel()
        raise


@contextmanager
def capture_engine_messages(log: Path) -> Iterator[None]:
    """Keep what an engine and its workers write to standard error in a file, which stays only if the engine fails.

    Our own messages, by `sys.stderr`, still reach the user.

    Args:
        log: the file; one of an earlier job is deleted.

    Raises:
        EngineFailed: as raised inside, with the name of the file.
    """
    remove_file(log)
    with tempfile.TemporaryFile() as heard, _standard_error_to(heard.fileno()):
        try:
            yield
        except errors.EngineFailed as problem:
            if not heard.seek(0, os.SEEK_END):
                raise
            heard.seek(0)
            try:
                write_atomically(log, heard)
            except errors.StorageFailed:  # what the engine failed of is what to say
                raise problem from None
            raise errors.EngineFailed(f"{problem}; what the engine wrote is in {log}") from problem


@contextmanager
def _standard_error_to(descriptor: int) -> Iterator[None]:
    """Send to a file what native code and child processes write to standard error, but not what this process prints."""
    sys.stderr.flush()
    shown = os.dup(2)
    own = sys.stderr
    hook = threading.excepthook
    with open_messages(shown, own.encoding) as printed:
        sys.stderr = printed
        threading.excepthook = partial(_report_thread, own)  # of the engine's threads
        os.dup2(descriptor, 2)
        try:
            yield
        finally:
            own.flush()
            os.dup2(shown, 2)
            sys.stderr = own
            threading.excepthook = hook


def _report_thread(stream: TextIO, problem: threading.ExceptHookArgs) -> None:
    traceback.print_exception(problem.exc_type, problem.exc_value, problem.exc_traceback, file=stream)


@contextmanager
def _servers_stopped(runner: Any) -> Iterator[None]:
    """Stop the server that an engine starts for a job when the job ends.

    Beam stops it at exit, when its temporary files are gone, and with them its way to stop.
    """
    started: list[Any] = []
    make = getattr(runner, "default_job_server", None)

    def remember(options: Any) -> Any:
        started.append(make(options))  # type: ignore[misc]
        return started[-1]

    if make:
        runner.default_job_server = remember
    try:
        yield
    finally:
        for server in started:
            server.stop()


def _keep_from_current_folder(options: Any) -> None:
    """Have a worker that a job service starts as its child not import from the folder that the service stands in."""
    if options.environment_type == CHILD_OF_JOB_SERVICE and options.environment_config:
        options.environment_config = f"PYTHONSAFEPATH=1 {options.environment_config}"  # a shell's command line


def _check_no_store(arguments: Sequence[str]) -> None:
    """Refuse Beam's options for stores: its jobs show their options, secrets too, and our clients do not see them."""
    found = [argument.split("=")[0] for argument in arguments if argument.startswith(("--s3", "--azure"))]
    if found and found[0].startswith("--azure"):
        raise errors.BadUsage(
            f"{found[0]}: az:// is reached as the environment says: AZURE_STORAGE_ACCOUNT_NAME and "
            "AZURE_STORAGE_ACCOUNT_KEY, or other credentials of Azure's; AZURE_STORAGE_ENDPOINT"
        )
    if found:
        raise errors.BadUsage(
            f"{found[0]}: s3:// is reached as the environment says: AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY; AWS_REGION; AWS_ENDPOINT_URL"
        )


def _check_known(options: Any) -> None:
    """Refuse options that Beam would discard with a warning: a misspelt engine option must not run elsewhere."""
    known = options.get_all_options(retain_unknown_options=False)
    unknown = sorted(set(options.get_all_options(retain_unknown_options=True)) - set(known))
    if unknown:
        raise errors.BadUsage(f"options that Beam does not know: {', '.join('--' + name for name in unknown)}")


def _asked_to_build_only(options: Any) -> str:
    """Return the options by which the user asks for a job that is built and not run, or nothing.

    Raises:
        BadUsage: the engine would ignore them.
    """
    given = options.get_all_options(drop_default=True)
    asked = [f"--{name}={given[name]}" for name in _BUILD_ONLY_OPTIONS if given.get(name)]
    if asked and "dataflow" not in given["runner"].lower():
        raise errors.BadUsage(f"{asked[0]} goes with --runner=DataflowRunner: {given['runner']} would run the job")
    return " ".join(asked)


def _translate(problem: Exception) -> errors.BackbeamError:
    """Find our own error in what an engine raised; engines carry a worker's error as text, or None as "None"."""
    found = errors.recover(problem)
    if found is not None:
        return found
    other = _OTHER_CODE.search(str(problem))
    if other:
        return errors.EngineFailed(
            f"the engine failed: a worker does not run the driver's {code_identity()}: {other[1]}; install that "
            "version wherever workers run"
        )
    lines = [line for line in str(problem).splitlines() if line.strip() not in ("", "None")]
    return errors.EngineFailed(f"the engine failed: {type(problem).__name__}: {lines[-1] if lines else ''}")


T = TypeVar("T")


class CodeIdentity(NamedTuple):
    """A version of this program, and the SHA-256 of its source files."""

    version: str
    digest: str

    def __str__(self) -> str:
        return f"backbeam {self.version} (code digest {self.digest[:12]})"


class SameCode(partial[T]):
    """A function with arguments that a process with other code than the one that pickled it does not unpickle."""

    def __reduce__(self) -> Any:
        # in this order: the other code may not even have the function
        return _restore, (_Required(), self.func, self.args, self.keywords)


class _Required:
    """Pickled as the identity of this process's code; unpickled, it is compared with that of another's."""

    def __reduce__(self) -> Any:
        return check_code, tuple(code_identity())


def _restore(_: None, function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> "SameCode[Any]":
    return SameCode(function, *arguments, **keywords)


@cache
def code_identity() -> CodeIdentity:
    """Return which code this process runs."""
    try:
        found = version("backbeam")
    except PackageNotFoundError:
        found = "not installed"
    return CodeIdentity(found, code_digest())


@cache
def code_digest() -> str:
    """Return the SHA-256 of the names and contents of this program's source files, in the order of their names."""
    digest = hashlib.sha256()
    for package in (model, pipeline):
        folder = Path(package.__path__[0])
        for path in sorted(folder.rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{package.__name__}/{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def check_code(required_version: str, required_digest: str) -> None:
    """Raise EngineFailed if this process, a worker, runs other code than its driver."""
    required = CodeIdentity(required_version, required_digest)
    own = code_identity()
    if own != required:
        folder = Path(pipeline.__path__[0]).parent
        raise EngineFailed(
            f"the engine failed: a worker runs {own} from {folder}, the driver {required}: install the driver's "
            "version wherever workers run"
        )
