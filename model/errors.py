"""The errors that users see, each with the exit code that the command line documents."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

_AS_TEXT = re.compile(r"\bmodel\.errors\.(\w+): (.*?)(?: \[while running .*)?$", re.MULTILINE)


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


class StorageFailed(BackbeamError):
    """A storage operation failed: disk full, no permission, no such folder."""

    exit_code = 5
    worth_retrying = True


class Locked(BackbeamError):
    """Another process has locked this workspace."""

    exit_code = 6
    worth_retrying = True


class EngineFailed(BackbeamError):
    """The Beam engine ended in a state other than DONE, or a cluster lost a worker in training."""

    exit_code = 7
    worth_retrying = True


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


def recover(problem: Exception) -> BackbeamError | None:
    """Return the error of this module that Beam or TensorFlow wrapped as text, or None if there is none.

    Of a message of several lines only the first is kept.
    """
    if isinstance(problem, BackbeamError):
        return problem
    kinds = {kind.__name__: kind for kind in BackbeamError.__subclasses__()}
    found = [(kinds[name], message) for name, message in _AS_TEXT.findall(str(problem)) if name in kinds]
    return found[-1][0](found[-1][1]) if found else None
