"""Which code a process runs, and the check that Beam's workers run the code of their driver.

Workers of any engine unpickle what they are to call, so that is where they are checked: on a cluster, in a worker pool
whose environment is of last week, or in a folder where another package `pipeline` stands.
"""

import hashlib
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import model
import pipeline
from model.errors import EngineFailed

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
