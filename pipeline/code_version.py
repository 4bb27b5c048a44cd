"""The version of the code that a process runs, and functions that only processes of the same version unpickle."""

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
    """The version of this program and the SHA-256 of its source files, in hexadecimal."""

    version: str
    digest: str

    def __str__(self) -> str:
        return f"backbeam {self.version} (code digest {self.digest[:12]})"


class SameCode(partial[T]):
    """A partial function that can only be unpickled by a process with the same code; others raise EngineFailed."""

    def __reduce__(self) -> Any:
        # _CodeCheck comes first: unpickling the function would fail if the other code lacks it.
        return _restore, (_CodeCheck(), self.func, self.args, self.keywords)


class _CodeCheck:
    """Pickled as a call of `check_code` with the identity of this process's code."""

    def __reduce__(self) -> Any:
        return check_code, tuple(code_identity())


def _restore(_: None, function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> "SameCode[Any]":
    return SameCode(function, *arguments, **keywords)


@cache
def code_identity() -> CodeIdentity:
    """Return the identity of the code of this process."""
    try:
        own_version = version("backbeam")
    except PackageNotFoundError:
        own_version = "not installed"
    return CodeIdentity(own_version, code_digest())


@cache
def code_digest() -> str:
    """Return the SHA-256 of the names and contents of this program's source files, sorted by name."""
    digest = hashlib.sha256()
    for package in (model, pipeline):
        folder = Path(package.__path__[0])
        for path in sorted(folder.rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{package.__name__}/{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def check_code(required_version: str, required_digest: str) -> None:
    """Raise EngineFailed if the code of this process, a worker, differs from its driver's."""
    required = CodeIdentity(required_version, required_digest)
    own = code_identity()
    if own != required:
        folder = Path(pipeline.__path__[0]).parent
        raise EngineFailed(
            f"the engine failed: a worker runs {own} from {folder}, the driver {required}: install the driver's "
            "version wherever workers run"
        )
