"""The errors that users see, each with the exit code that the command line documents."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Self, TypeAlias

# Errors of engines that say what happened, and what that means.
_KNOWN_ERRORS = (
    (
        r"NoResourceAvailableException|Could not acquire the minimum required resources",
        "the cluster has too few free task slots: lower --parallelism, wait for other jobs, or add task managers",
    ),
    (
        r"BlobServer|BlobClient|blob server",
        "Flink's blob server, a port of the job manager (blob.server.port), cannot be reached",
    ),
    (
        r"^_\w+: <_\w+ of RPC that terminated with:\s+status = StatusCode\.UNAVAILABLE\s+details = \"([^\"\n]*)",
        r"the job server does not answer or has ended: \1",
    ),
    ("^FutureTimeoutError", "the job server does not answer"),
    (r"^\w+: HTTPS?ConnectionPool\(host='([^']+)', port=(\d+)\)", r"\1:\2 does not answer"),
)
_SENTENCE = re.compile(r"(\S*[A-Za-z]{2}\S*\s+){2}\S*[A-Za-z]{2}")  # three words
_AS_TEXT = re.compile(r"\bmodel\.errors\.(\w+): (.*?)(?: \[while running .*)?$", re.MULTILINE)
_STEP = re.compile(r" \[while running '[^']*'\]$")  # what Beam appends to a message in the same process


class BackbeamError(Exception):
    """An error that a user can act on: one clear message, no traceback.

    `hint` is what to do, as text or a command, and ends the message; None if the message has no such part.
    """

    exit_code = 1
    worth_retrying = False

    def __init__(self, message: object = "", hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}; {hint}")
        self.hint = hint


class BadUsage(BackbeamError):
    """Options that do not fit together or name something unknown."""

    exit_code = 2


class BadInput(BackbeamError):
    """Source files that are missing, damaged or not what they claim to be."""

    exit_code = 3


class CorruptArtefact(BackbeamError):
    """A file that backbeam wrote no longer holds what its record says."""

    exit_code = 4

    @classmethod
    def of_damage(cls, damage: "Damage") -> Self:
        """Return the error that another process found."""
        problem = cls(damage[0])
        problem.hint = damage[1]  # which the message has already
        return problem


Damage: TypeAlias = tuple[str, str | None]  # the message and the hint of a CorruptArtefact, for another process


class StorageFailed(BackbeamError):
    """A storage operation failed: disk full, no permission, no such folder."""

    exit_code = 5
    worth_retrying = True
    is_forbidden = False  # whether this user may not do it, but another may


class Locked(BackbeamError):
    """Another process has locked this workspace."""

    exit_code = 6
    worth_retrying = True


class EngineFailed(BackbeamError):
    """The Beam engine ended in a state other than DONE, or a process that trains ended before its work was done."""

    exit_code = 7
    worth_retrying = True


class UnknownFormat(BackbeamError):
    """A sound record of a format version that this version of backbeam does not read."""

    exit_code = 8


class NothingRun(BackbeamError):
    """Not a failure: a job was built but not run, as requested, so the stages after it cannot run."""

    exit_code = 0


def is_worth_retrying(exit_code: int) -> bool:
    """Tell whether the same command may well succeed later, from the code that it ended with.

    False if its arguments, its sources or the workspace must be changed first. True for a code of none of these errors:
    the process crashed, ran out of memory or was killed, which may not happen again.

    Args:
        exit_code: of a process; negative if a signal killed it.
    """
    kinds = {kind.exit_code: kind for kind in BackbeamError.__subclasses__()}
    return exit_code not in kinds or kinds[exit_code].worth_retrying


@contextmanager
def storage_failures(folder: object) -> Iterator[None]:
    """Raise StorageFailed for the errors that TensorFlow raises when it cannot write to a folder."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as problem:
        raise StorageFailed(f"storage: {folder} cannot be written to: {problem.message.splitlines()[0]}") from problem


@contextmanager
def argparse_failures(program: str) -> Iterator[None]:
    """Raise BadUsage where argparse would print the usage of all options of a program, and exit."""
    printed = io.StringIO()
    try:
        with redirect_stderr(printed):
            yield
    except SystemExit as ended:
        if ended.code != BadUsage.exit_code:  # a signal, or --help
            raise
        raise BadUsage(f"{program}: {printed.getvalue().rpartition('error: ')[2].strip()}") from None


def recover(problem: Exception) -> BackbeamError | None:
    """Return the error of this module that Beam or TensorFlow wrapped as text, or None if there is none.

    Of a message of several lines only the first is kept, unless Beam only appended the name of a step.
    """
    if isinstance(problem, BackbeamError):
        message = _STEP.sub("", str(problem))
        return problem if message == str(problem) else type(problem)(message)
    kinds = {kind.__name__: kind for kind in BackbeamError.__subclasses__()}
    found = [(kinds[name], message) for name, message in _AS_TEXT.findall(str(problem)) if name in kinds]
    return found[-1][0](found[-1][1]) if found else None


def describe_engine_error(problem: Exception) -> str:
    """Return a line about an exception of a Beam engine, whose text may hold the stack traces of several processes.

    It is what is known of such errors; or the last cause; or the first line that is a sentence.
    """
    if isinstance(problem, BackbeamError):
        return str(problem)
    text = str(problem).replace("\\n", "\n").replace("\\t", "\t")  # Flink sends stack traces as JSON
    for pattern, meaning in _KNOWN_ERRORS:
        known = re.search(pattern, f"{type(problem).__name__}: {text}")
        if known:
            return known.expand(meaning)
    first, *causes = map(_find_message, re.split(r"^\s*Caused by: ", text, flags=re.MULTILINE))
    cause, is_clear = (first, *causes)[-1]
    shown = cause if is_clear or cause == first[0] else f"{first[0]} (caused by {cause})"
    return f"{type(problem).__name__}: {shown}"


def _find_message(text: str) -> tuple[str, bool]:
    """Return the last line of a Python traceback, or of another text its first sentence, or else its first line.

    The second result is whether that says what happened.
    """
    own = re.split(r"^\s+at ", text, maxsplit=1, flags=re.MULTILINE)[0]  # without the calls of Java's stack traces
    is_traceback = "Traceback (most recent call last)" in own
    whole = own if is_traceback else re.sub(r":[ \t]*\n\s*", ": ", own)  # Dataflow's "Error:" is followed by the error
    lines = [line.strip() for line in whole.splitlines() if re.search("[A-Za-z0-9]", line) and line.strip() != "None"]
    if is_traceback:
        return lines[-1], True
    sentences = [line for line in lines if _SENTENCE.search(line)]
    return (sentences or lines or [""])[0], bool(sentences)
