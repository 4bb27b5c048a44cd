"""Show messages, translate errors and check arguments: the part that all functions of the public API share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import Parameter, signature
from os import PathLike
from pathlib import Path

from backbeam.settings import PathOrUri
from model.errors import BadUsage, StorageFailed


@contextmanager
def called_from_python(verbose: bool, *texts: object) -> Iterator[None]:
    """Do the work of a call inside this context: it hides messages unless verbose, and translates errors of storage.

    Raises StorageFailed for an OSError, and BadUsage if one of the texts is a URI that may hold a secret.
    """
    from pipeline.cli.arguments import refuse_secrets
    from pipeline.progress import messages_of_program

    with messages_of_program(verbose):
        try:
            refuse_secrets([str(text) for text in texts if text is not None])
            yield
        except OSError as problem:
            raise StorageFailed(f"storage: {problem}") from problem


def check_keywords(function: Callable[..., object], settings: Mapping[str, object], kind: type) -> None:
    """Raise BadUsage, which names the nearest, for a setting that is no key of the TypedDict that a function takes."""
    from model.recipes import shown
    from model.synonyms import nearest

    parameters = signature(function).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is not Parameter.VAR_KEYWORD]
    known += kind.__annotations__
    for name in settings:
        if name not in known:
            raise BadUsage(
                f"{function.__name__}: no such argument: {shown(name)}{nearest(name, known)}; there are: "
                f"{', '.join(known)}"
            )


def as_list(values: PathOrUri | Sequence[PathOrUri]) -> list[str]:
    """Return one value, or several, as texts."""
    return [str(values)] if isinstance(values, (str, PathLike)) else [str(value) for value in values]


def as_path(path: PathOrUri | None) -> Path | None:
    """Return a path of this machine, with ~ replaced; raises BadUsage for a URI, which would become a local name."""
    from pipeline.storage.places import local_path

    return None if path is None else local_path(str(path))
