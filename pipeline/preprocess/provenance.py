"""The origin of a data set, the options of `preprocess` that built it: the record origins/DATASET_ID.json.

It is not in the data set's folder, which depends on the content of the sources only, not on their paths.
"""

from contextlib import suppress
from typing import Literal

from pydantic import Field

from model.errors import CorruptArtefact
from pipeline.sources.catalog import KNOWN, ResizeMode, split_file_names
from pipeline.storage.file_listing import modified_time
from pipeline.storage.files import size_or_none, write_atomically
from pipeline.storage.formats import VersionedRecord
from pipeline.storage.places import Place, is_remote, place_of
from pipeline.storage.records import Count, FileName, UtcTime, commit_file


class Origin(VersionedRecord):
    """The options of `preprocess` that built a data set; None: the option was not given."""

    format_version: Literal[1] = 1
    dataset_id: FileName
    datasets: tuple[str, ...]  # known names, absolute paths, URIs; of a joint data set, those of every part in order
    data_dir: str | None
    num_classes: Count | None
    num_shards: Count | None
    shuffle_seed: Count
    max_rejected: Count  # number of rejected examples
    image_column: str | None
    label_column: str | None
    image_size: tuple[int, int] | None
    arrays: tuple[str, ...] | None = Field(None, exclude_if=lambda arrays: arrays is None)
    test_share: float | None = Field(None, exclude_if=lambda share: share is None)
    transpose: bool | None = Field(None, exclude_if=lambda transpose: transpose is None)
    resize: tuple[int, int] | None = Field(None, exclude_if=lambda size: size is None)
    resize_mode: ResizeMode | None = Field(None, exclude_if=lambda mode: mode is None)
    split_by: str | None = Field(None, exclude_if=lambda column: column is None)
    first_label: Count = Field(0, exclude_if=lambda label: not label)
    # of the source that this one was joined with, which gave the order of the labels
    class_names: tuple[str, ...] = Field((), exclude_if=lambda names: not names)
    # when the manifest was written; earlier versions did not record it
    made: UtcTime | None = Field(None, exclude_if=lambda made: made is None)


def origin_path(workspace: Place, dataset_id: str) -> Place:
    """Return the path of a data set's origin record."""
    return workspace / "origins" / f"{dataset_id}.json"


def load_origin(workspace: Place, dataset_id: str) -> Origin:
    """Read a data set's origin; raises CorruptArtefact if it is missing, damaged or of another data set."""
    path = origin_path(workspace, dataset_id)
    if size_or_none(path) is None:
        raise CorruptArtefact(
            f"{path} is missing, so nothing says where {dataset_id} came from: `backbeam preprocess` with the options "
            "that made it writes it again"
        )
    origin = Origin.load(path)
    if origin.dataset_id != dataset_id:
        raise CorruptArtefact(f"{path} is the origin of {origin.dataset_id}, expected {dataset_id}")
    return origin


def options_given(origin: Origin) -> list[str]:
    """Return the command line options that build the data set again."""
    given = origin.model_dump(exclude={"format_version", "dataset_id", "datasets", "class_names", "made"})
    given |= {
        "max_rejected": origin.max_rejected or None,
        "image_size": _format_size(origin.image_size),
        "resize": _format_size(origin.resize),
        "arrays": origin.arrays and ",".join(origin.arrays),
    }
    arguments = [argument for source in origin.datasets for argument in ("--dataset", source)]
    for name, value in given.items():
        if isinstance(value, bool):
            arguments.append(f"--{'' if value else 'no-'}{name.replace('_', '-')}")
        elif value is not None:
            arguments += [f"--{name.replace('_', '-')}", str(value)]
    return arguments


def _format_size(size: tuple[int, int] | None) -> str | None:
    return size and "x".join(map(str, size))


def find_time_made(workspace: Place, dataset_id: str) -> str:
    """Return when a complete data set was made, in the format of records.

    Its origin says so. If there is none, an earlier version wrote it, or it is damaged, which `verify` reports, it is
    the time of the manifest, which a copy of the workspace may have changed.
    """
    made = None
    with suppress(CorruptArtefact):
        made = load_origin(workspace, dataset_id).made
    return made or _time_of_manifest(workspace, dataset_id)


def _time_of_manifest(workspace: Place, dataset_id: str) -> str:
    from pipeline.preprocess.manifest import MANIFEST_NAME  # which imports NumPy

    return modified_time(workspace / "datasets" / dataset_id / MANIFEST_NAME)


def write_origin(workspace: Place, origin: Origin, is_new: bool) -> None:
    """Write a data set's origin unless the same record exists; the origin of the latest run replaces another.

    The time when the data set was made is kept, unless the data set is new.
    """
    path = origin_path(workspace, origin.dataset_id)
    find = _time_of_manifest if is_new else find_time_made
    made = find(workspace, origin.dataset_id)
    data = origin.model_copy(update={"made": made}).to_json()
    if size_or_none(path) is None:
        commit_file(path, data)  # in a store, never replaces what another process has written in the meantime
    elif path.read_bytes() != data:
        write_atomically(path, data)


def make_absolute(source: str) -> str:
    """Return a source's name with absolute paths; known names and URIs are returned unchanged."""
    if source in KNOWN:
        return source
    names = split_file_names(source) or [source]
    return ",".join(name if is_remote(name) else str(place_of(name).absolute()) for name in names)
