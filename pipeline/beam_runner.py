"""Running a Beam pipeline: options, messages of the engine, and translation of its errors.

Beam is not imported here: the two `beam_job` modules pass its classes.
"""

import argparse
import os
import re
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from model import errors
from pipeline.processes import code_identity
from pipeline.progress import is_command, open_messages
from pipeline.storage.files import remove_file, write_atomically

# Beam's DirectRunner first tries to download and execute a binary, Prism; here both names run in this process.
_IN_PROCESS_NAMES = {"directrunner", "fnapirunner"}
IN_PROCESS_RUNNER = "FnApiRunner"
MOST_WORKERS = 1024  # processes

_SUBPROCESS_ENVIRONMENT = "beam:env:harness_subprocess_python:v1"

# The errors of a worker that cannot unpickle functions because its code is of another version, or another package.
_CODE_MISMATCH = re.compile(
    r"^\w+Error: (No module named '(?:pipeline|model)\b.*|.*\bmodule '(?:pipeline|model)\b.*)$", re.MULTILINE
)

# Options by which Dataflow builds a job without running it. Other engines ignore them and would run the job.
_BUILD_ONLY_OPTIONS = ("dry_run", "template_location")

# Options by which Beam's own clients of stores are configured, and what configures those used here.
_STORE_OPTIONS = {
    "--s3": "s3:// is configured by the environment: AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
    "AWS_REGION; AWS_ENDPOINT_URL",
    "--azure": "az:// is configured by the environment: AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or "
    "other credentials of Azure's; AZURE_STORAGE_ENDPOINT",
}

# Options that --workers sets, so that users may not combine it with them.
_WORKER_OPTIONS = ("--runner", "--direct_running_mode", "--direct_num_workers")


def beam_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments for Beam; without --runner, the local engine runs in this process.

    Raises BadUsage if the first argument is not an option.
    """
    if arguments and not arguments[0].startswith("--"):
        raise errors.BadUsage(f"options for Beam begin with --; found {arguments[0]!r}")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner", default=IN_PROCESS_RUNNER)
    parsed, rest = parser.parse_known_args(list(arguments))
    runner = IN_PROCESS_RUNNER if parsed.runner.lower() in _IN_PROCESS_NAMES else parsed.runner
    # Beam would also pickle the main module for its workers, but it holds nothing that they need.
    main_session = [] if "--save_main_session" in rest else ["--no_save_main_session"]
    return [*rest, *main_session, f"--runner={runner}"]


def runs_locally(arguments: Sequence[str]) -> bool:
    """Return whether all workers run on this machine, so that they can exchange local files."""
    return f"--runner={IN_PROCESS_RUNNER}" in beam_arguments(arguments)


def add_workers(arguments: Sequence[str], num_workers: int | None) -> tuple[str, ...]:
    """Return the user's options for Beam with those that start worker processes on this machine.

    One worker is this process; None leaves the arguments unchanged. Raises BadUsage if the arguments set the engine or
    its workers too, or configure access to a store, or there are too few or too many workers.
    """
    _check_no_store(arguments)
    if num_workers is None:
        return tuple(arguments)
    if not 1 <= num_workers <= MOST_WORKERS:
        raise errors.BadUsage(f"--workers is {num_workers}, expected 1 to {MOST_WORKERS:,}")
    conflicts = [argument for argument in arguments if argument.split("=")[0] in _WORKER_OPTIONS]
    if conflicts:
        raise errors.BadUsage(
            f"--workers {num_workers} and {conflicts[0]} (after --) both choose the engine or its workers: "
            "leave one out"
        )
    if num_workers == 1:
        return tuple(arguments)
    return (*arguments, "--direct_running_mode=multi_processing", f"--direct_num_workers={num_workers}")


def run_pipeline(
    beam: ModuleType, options_class: Any, arguments: Sequence[str], build: Callable[[Any], object]
) -> None:
    """Let build apply a job's transforms to a pipeline, run it and wait for its end.

    beam is the package apache_beam, options_class its class PipelineOptions; arguments are the user's options for Beam.

    Raises:
        BadUsage: Beam or the engine does not know an option, or cannot load the engine.
        NothingRun: the options ask to build the job without running it.
        EngineFailed: the engine failed, or the job ended in another state than DONE.
        BackbeamError: the job's own code raised it in a worker.
    """
    options = options_class(beam_arguments(arguments))
    _check_options_known(options)
    build_only = _find_build_only_options(options)
    _exclude_current_folder(options.view_as(beam.options.pipeline_options.PortableOptions))
    try:
        pipeline = beam.Pipeline(options=options)
    except (ValueError, ImportError) as problem:  # unknown runner, or its package is not installed
        raise errors.BadUsage(f"Beam: {problem}") from problem
    # By name: Beam imports the module of this class only if it creates such a runner.
    if type(pipeline.runner).__name__ == IN_PROCESS_RUNNER:
        from pipeline.beam_workers import use_own_workers

        use_own_workers()
    build(pipeline)
    try:
        with _stop_job_servers(pipeline.runner):
            state = _wait_for_end(pipeline.run())
    except Exception as problem:  # engines raise errors of any class
        raise _translate_error(problem) from problem
    if build_only:
        raise errors.NothingRun(
            f"{build_only}: the job was built and not run, so it made nothing; to run it, leave the option out"
        )
    if state != "DONE":
        raise errors.EngineFailed(f"the engine ended in state {state}, expected DONE")


def _wait_for_end(result: Any) -> Any:
    """Wait for a job's end and return its state; if the wait fails or is interrupted, cancel the job."""
    try:
        return result.wait_until_finish()
    except BaseException:  # a cluster would continue, and write to a workspace whose temporary files have been removed
        with suppress(Exception):  # not all engines can cancel; the original error is raised
            result.cancel()
        raise


@contextmanager
def capture_engine_messages(log: Path) -> Iterator[None]:
    """Capture what an engine and its workers write to standard error; if it fails, save that to a file.

    The file of an earlier job is deleted first. The message of the EngineFailed gets the name of the file. In a program
    that imports backbeam nothing is captured, and standard error is left alone.
    """
    remove_file(log)
    if not is_command():
        yield
        return
    with tempfile.TemporaryFile() as captured, _redirect_standard_error(captured.fileno()):
        try:
            yield
        except errors.EngineFailed as problem:
            if not captured.seek(0, os.SEEK_END):
                raise
            captured.seek(0)
            try:
                write_atomically(log, captured)
            except errors.StorageFailed:  # the engine's error is more important
                raise problem from None
            raise errors.EngineFailed(f"{problem}; what the engine wrote is in {log}") from problem


@contextmanager
def _redirect_standard_error(descriptor: int) -> Iterator[None]:
    """Redirect file descriptor 2, to which native code and child processes write; still show Python's `sys.stderr`."""
    sys.stderr.flush()
    shown = os.dup(2)
    redirected = sys.stderr  # writes to descriptor 2
    hook = threading.excepthook
    with open_messages(shown, redirected.encoding) as messages:
        sys.stderr = messages
        threading.excepthook = lambda problem: traceback.print_exception(  # errors of the engine's threads
            problem.exc_type, problem.exc_value, problem.exc_traceback, file=redirected
        )
        os.dup2(descriptor, 2)
        try:
            yield
        finally:
            redirected.flush()
            os.dup2(shown, 2)
            sys.stderr = redirected
            threading.excepthook = hook


@contextmanager
def _stop_job_servers(runner: Any) -> Iterator[None]:
    """Stop an engine's job server when the job ends, not at exit, when the temporary files that it needs are gone."""
    started: list[Any] = []
    create_server = getattr(runner, "default_job_server", None)

    def create_and_record(options: Any) -> Any:
        started.append(create_server(options))  # type: ignore[misc]
        return started[-1]

    if create_server:
        runner.default_job_server = create_and_record
    try:
        yield
    finally:
        for server in started:
            server.stop()


def _exclude_current_folder(options: Any) -> None:
    """Keep workers that a job service starts as its children from importing modules from the service's folder."""
    if options.environment_type == _SUBPROCESS_ENVIRONMENT and options.environment_config:
        options.environment_config = f"PYTHONSAFEPATH=1 {options.environment_config}"  # run by a shell


def _check_no_store(arguments: Sequence[str]) -> None:
    """Refuse Beam's options for stores: jobs display their options, secrets included, and obstore does not see them."""
    for argument in arguments:
        for prefix, instead in _STORE_OPTIONS.items():
            if argument.startswith(prefix):
                option = argument.split("=")[0]
                raise errors.BadUsage(f"{option}: access to {instead}")


def _check_options_known(options: Any) -> None:
    """Refuse unknown options: Beam ignores them with a warning, and a misspelt one could run the job elsewhere."""
    known = options.get_all_options(retain_unknown_options=False)
    unknown = sorted(set(options.get_all_options(retain_unknown_options=True)) - set(known))
    if unknown:
        raise errors.BadUsage(f"options that Beam does not know: {', '.join('--' + name for name in unknown)}")


def _find_build_only_options(options: Any) -> str:
    """Return the options, as text, that ask to build a job without running it; BadUsage if the engine ignores them."""
    values = options.get_all_options(drop_default=True)
    build_only = [f"--{name}={values[name]}" for name in _BUILD_ONLY_OPTIONS if values.get(name)]
    if build_only and "dataflow" not in values["runner"].lower():
        raise errors.BadUsage(
            f"{build_only[0]} goes with --runner=DataflowRunner: {values['runner']} would run the job"
        )
    return " ".join(build_only)


def _translate_error(problem: Exception) -> errors.BackbeamError:
    """Return the error for an exception of an engine, which contains a worker's error as text, or the text "None"."""
    own_error = errors.recover(problem)
    if own_error is not None:
        return own_error
    mismatch = _CODE_MISMATCH.search(str(problem))
    if mismatch:
        return errors.EngineFailed(
            f"the engine failed: a worker does not run the driver's {code_identity()}: {mismatch[1]}; install that "
            "version wherever workers run"
        )
    lines = [line for line in str(problem).splitlines() if line.strip() not in ("", "None")]
    return errors.EngineFailed(f"the engine failed: {type(problem).__name__}: {lines[-1] if lines else ''}")
