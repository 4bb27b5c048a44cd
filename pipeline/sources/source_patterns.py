"""Patterns of sources, such as incoming/* or s3://bucket/incoming/*: each place that matches is a source."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from glob import glob
from pathlib import Path

from model.errors import BadInput
from pipeline.sources.catalog import NUMPY_NAME, split_file_names
from pipeline.storage.places import RemotePath, is_remote, place_of

_WILDCARDS = "*?["


def expand_sources(names: Iterable[str]) -> tuple[str, ...]:
    """Replace patterns of sources by the places that match them now, sorted, without hidden ones.

    Patterns of files that are a split together, such as train-*.csv, are left to the layouts. Raises BadInput if a
    pattern matches nothing.
    """
    return tuple(place for name in names for place in ([name] if _is_of_files(name) else expand_source(name)))


def _is_of_files(name: str) -> bool:
    return bool(split_file_names(name)) and not NUMPY_NAME.search(name.lower())


def expand_source(name: str) -> list[str]:
    """Return the places that match a pattern now, of files too, sorted; other names and lists of files as they are."""
    if not any(wildcard in name for wildcard in _WILDCARDS) or len(split_file_names(name)) > 1 or _exists(name):
        return [name]
    paths = _list_in_store(name) if is_remote(name) else _list_here(name)
    if not paths:
        raise BadInput(f"{name}: nothing fits this pattern; put sources there, or give another pattern")
    return sorted(paths)


def _exists(name: str) -> bool:
    place = place_of(name)
    return place.exists() or (isinstance(place, RemotePath) and place.is_dir())


def _list_here(name: str) -> list[str]:
    # as a shell does, glob skips hidden files; Path.glob does not
    return [str(Path(path)) for path in glob(str(place_of(name)), recursive=True)]  # noqa: PTH207


def _list_in_store(name: str) -> list[str]:
    """List each folder that the pattern reaches once."""
    scheme, _, rest = str(place_of(name)).partition("://")
    bucket, *patterns = rest.split("/")
    found = [RemotePath(f"{scheme}://{bucket}")]
    while patterns and not any(wildcard in patterns[0] for wildcard in _WILDCARDS):
        found = [found[0] / patterns.pop(0)]
    for pattern in patterns:
        children = [child for folder in found for child in folder.list_children()]
        found = [child for child in children if fnmatchcase(child.name, pattern) and not child.name.startswith(".")]
    return [str(place) for place in found]
