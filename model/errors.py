"""What can go wrong, each with the exit code that the command line documents."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

_AS_TEXT = re.compile(r"\bmodel\.errors\.(\w+): (.*?)(?: \[while running .*)?$", re.MULTILINE)


class BackbeamError(Exception):
    """An error that a user can act on: one clear message, no traceback."""

    exit_code = 1
    worth_retrying = False


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
    """The file system refused: disk full, no permission, no such place."""

    exit_code = 5
    worth_retrying = True


class Locked(BackbeamError):
    """Another process works on this workspace."""

    exit_code = 6
    worth_retrying = True


class EngineFailed(BackbeamError):
    """The Beam engine ended in a state other than DONE, or a cluster lost a worker in training."""

    exit_code = 7
    worth_retrying = True


class NothingRun(BackbeamError):
    """Not a failure: as asked for, a job was built and not run, so there is nothing to go on with."""

    exit_code = 0


def is_worth_retrying(exit_code: int) -> bool:
    """Tell whether the same command may well succeed later, from the code that it ended with.

    Not where its arguments, its sources or the workspace must be changed first. A code that is none of these errors'
    is of a process that crashed, ran out of memory or was killed: that may pass.

    Args:
        exit_code: of a process; negative if a signal killed it.
    """
    kinds = {kind.exit_code: kind for kind in BackbeamError.__subclasses__()}
    return exit_code not in kinds or kinds[exit_code].worth_retrying


@contextmanager
def storage_failures(folder: object) -> Iterator[None]:
    """Turn what TensorFlow raises when it cannot write to a folder into StorageFailed."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as problem:
        raise StorageFailed(f"storage: {folder} cannot be written to: {problem.message.splitlines()[0]}") from problem


def recover(problem: Exception) -> BackbeamError | None:
    """Find an error of this file in one that Beam or TensorFlow raised; they carry what a worker raised as text.

    A message of several lines keeps its first.
    """
    if isinstance(problem, BackbeamError):
        return problem
    kinds = {kind.__name__: kind for kind in BackbeamError.__subclasses__()}
    found = [(kinds[name], message) for name, message in _AS_TEXT.findall(str(problem)) if name in kinds]
    return found[-1][0](found[-1][1]) if found else None
