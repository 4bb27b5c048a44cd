"""Find the files of a data set: embedded, in a folder or store, in the cache, or downloaded; and scan them."""

import os
import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from model.errors import BadInput, BadUsage
from model.synonyms import nearest
from pipeline.progress import warn
from pipeline.sources import csv_source, idx_source, image_folder, numpy_source, parquet_source, tfrecord_source
from pipeline.sources.blocks import SourceScan, refuse_unreadable
from pipeline.sources.catalog import (
    EMBEDDED,
    FILE_NAMES,
    KNOWN,
    AnySource,
    IdxSource,
    ImageFolderSource,
    KnownDataset,
    PictureOptions,
    split_file_names,
)
from pipeline.sources.class_order import order_classes
from pipeline.sources.csv_files import CSV, holds_undivided_csv
from pipeline.sources.found_layout import MAX_ENTRIES, describe_found
from pipeline.sources.git_lfs import refuse_pointer
from pipeline.sources.idx_files import find_file, find_idx_files, splits_off_prefix
from pipeline.sources.layouts import SourceLayout
from pipeline.sources.scan_tasks import MapTasks, map_here
from pipeline.sources.split_files import holds_classes, is_pattern, list_files
from pipeline.storage.files import file_digest
from pipeline.storage.places import Place, is_remote, list_once, place_of
from pipeline.storage.workspace import default_cache

LAYOUTS = (  # the first that holds a folder is taken
    idx_source.LAYOUT,
    tfrecord_source.LAYOUT,  # before Parquet, as a data set of the workspace has tables beside its shards
    parquet_source.LAYOUT,
    csv_source.LAYOUT,
    image_folder.LAYOUT,
    numpy_source.LAYOUT,
)
WHAT_IS_READ = "; ".join(layout.example for layout in LAYOUTS)
MAX_NAME = 100  # characters: the data set's folder adds its digest, and file systems allow 255 bytes
_MAX_BELOW = 20  # folders of a folder without a data set in which one is looked for
_USES = {
    "image_column": "files of tables",
    "label_column": "files of tables",
    "image_size": "pictures that do not state their size",
    "resize": "files of pictures",
    "resize_mode": "files of pictures",
    "arrays": "a NumPy file",
    "split_by": "tables and records",
    "transpose": "IDX, NumPy and CSV files",
}


@refuse_unreadable()
def find_source(
    dataset: str, data_dir: str | None, cache: Path | None, options: PictureOptions | None = None
) -> AnySource:
    """Find the files of a data set, and download them if a known data set is not in the cache.

    dataset is a known name; a folder or URI in one of the LAYOUTS; or the files of a layout, separated by commas.
    data_dir holds the files of the known data set, and cache has a subfolder of downloads for each; None is the default
    one, which is not looked for unless it is needed.

    Raises:
        BadUsage: the name is unknown, or data_dir is given although dataset is a folder.
        BadInput: files are missing, or no mirror serves them.
    """
    known = KNOWN.get(dataset)
    if known is None:
        if data_dir is not None:
            listed = ", ".join(KNOWN)
            raise BadUsage(f"--data-dir goes with a known data set ({listed}), not with the folder {dataset!r}")
        find = _from_files if split_file_names(dataset) and not _is_folder(dataset) else _from_folder
        source = find(dataset, options or PictureOptions())
        for file in _files_of(source):
            refuse_pointer(file)
        return source
    if data_dir is not None:
        return IdxSource(dataset, find_idx_files(data_dir)[: len(FILE_NAMES)], known)
    if Path(dataset).exists():
        warn(f"{dataset}: the known data set is taken, not the folder that is here; ./{dataset} means that")
    if not known.mirrors:
        return IdxSource(dataset, find_idx_files(EMBEDDED / dataset), known)
    folder = (cache or default_cache()).absolute() / dataset
    return IdxSource(dataset, tuple(_from_cache(dataset, known, folder)), known)


def _files_of(source: AnySource) -> Iterator[Place]:
    """Yield the files of a source that is found by its files."""
    files = getattr(source, "files", ())
    yield from chain.from_iterable(files.values()) if isinstance(files, dict) else files


def _is_folder(dataset: str) -> bool:
    """Return whether a name is that of a folder of this machine: those that Spark writes are named as files are."""
    # Path.is_dir raises an error for a long list of names.
    return not is_remote(dataset) and os.path.isdir(str(place_of(dataset)))  # noqa: PTH112


def _from_folder(dataset: str, options: PictureOptions) -> AnySource:
    place = list_once(place_of(dataset).absolute())  # workers may have another working directory
    local = place if isinstance(place, Path) else None
    if local and splits_off_prefix(local):
        return idx_source.LAYOUT.find(_dataset_name(local.name), local, options)
    if local and not local.exists():
        hint = nearest(dataset, KNOWN)
        raise BadUsage(f"no data set {dataset!r}{hint}: neither a folder nor one of {', '.join(KNOWN)}")
    if local and not local.is_dir():
        raise BadInput(f"--dataset {dataset} is {describe_found(local)}. What is read: {WHAT_IS_READ}")
    name = _dataset_name(local.resolve().name if local else dataset)
    layout = next((layout for layout in LAYOUTS if layout.holds(place)), None)
    if layout is None and options.split_by is not None and list_files(place, CSV):
        layout = csv_source.LAYOUT  # whose names need no word of a split
    if layout is None and options.test_share is not None and holds_undivided_csv(place):
        layout = csv_source.LAYOUT
    if layout is None and local and options.test_share is not None:
        layout = image_folder.LAYOUT
    if layout is None:
        found = f"{describe_found(local)}{_advise_below(local)}" if local else "nothing of that kind is there"
        raise BadInput(f"--dataset {dataset}: {found}. What is read: {WHAT_IS_READ}")
    return layout.find(name, place, options)


def _advise_below(folder: Path) -> str:
    """Return which folders of one without a data set have some, as what is unpacked from an archive often does."""
    below = (path for path in islice(folder.iterdir(), MAX_ENTRIES) if path.is_dir() and not path.name.startswith("."))
    found = sorted(str(path) for path in islice(below, _MAX_BELOW) if _is_found(path))
    return f"; there are data sets in it, name one: {', '.join(found[:3])}{' ...' * (len(found) > 3)}" if found else ""


def _is_found(folder: Path) -> bool:
    """Return whether a folder holds a data set whose files are all there; of a tree, whether there are classes."""
    try:
        sources = [layout.find("", folder, PictureOptions()) for layout in LAYOUTS if layout.holds(folder)]
    except (BadInput, BadUsage):
        return False
    return any(not isinstance(source, ImageFolderSource) or holds_classes(folder) for source in sources)


def _from_files(dataset: str, options: PictureOptions) -> AnySource:
    """Find the files that --dataset names one by one."""
    places = tuple(place_of(file).absolute() for file in split_file_names(dataset))
    finders = ((layout.file_name, layout.find_files) for layout in LAYOUTS)
    find = next(find for ending, find in finders if find and ending and ending.search(dataset.lower()))
    name = places[0].stem if len(places) == 1 else str(places[0].parent)
    source = find(_dataset_name(name), places, options)
    missing = [place for place in places if not is_pattern(place) and not place.is_file()]
    if missing:
        raise BadInput(f"no file {missing[0]}")
    return source


def _dataset_name(place: str) -> str:
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", place.rstrip("/").split("/")[-1]).strip("-.")
    return name[:MAX_NAME] or "dataset"


def _from_cache(dataset: str, known: KnownDataset, folder: Path) -> Iterator[Place]:
    """Yield the four files; download those that are missing, or gzipped and damaged."""
    from pipeline.sources.download import download_file  # imports requests

    for name, digest in zip(FILE_NAMES, known.gzip_digests, strict=True):
        file = find_file(folder, name)
        # Decompressed files were put there by the user. The scan checks their content.
        if file is None or (file.name.endswith(".gz") and file_digest(file) != digest):
            file = download_file(dataset, known.mirrors, folder / f"{name}.gz", digest)
        yield file


def check_options(options: PictureOptions, source: AnySource) -> None:
    """Raise BadUsage if one of the user's options does not apply to the layout of a source."""
    layout = _layout_of(source)
    for field, value in options._asdict().items():
        if value is not None and field not in layout.options:
            option = f"--{field.replace('_', '-')}"
            raise BadUsage(f"{option} goes with {_USES[field]}, and {source.name} is of {layout.title}")


def choose_options(options: PictureOptions, source: AnySource) -> PictureOptions:
    """Return those of the user's options for several sources that apply to one of them."""
    applies = _layout_of(source).options
    return PictureOptions(**{name: value for name, value in options._asdict().items() if name in applies})


def _layout_of(source: AnySource) -> SourceLayout:
    return next(layout for layout in LAYOUTS if isinstance(source, layout.kind))


@refuse_unreadable()
def scan_source(
    source: AnySource,
    num_classes: int | None = None,
    first_label: int = 0,
    class_names: tuple[str, ...] = (),
    map_tasks: MapTasks = map_here,
) -> SourceScan:
    """Read all files of a source and check that they are undamaged and fit together.

    num_classes and first_label, the label of the first class, are for data sets that do not name their classes; by
    default the labels are 0 to the largest one of the train split. class_names are those of the source that this one is
    joined with, and then those of the scan. map_tasks runs the tasks of large sources.

    Raises:
        BadInput: a file is damaged, is not what it claims to be, or does not fit the others, or a class is none of
            class_names.
        BadUsage: num_classes or first_label is not that of the classes that the data set names.
    """
    scans = _layout_of(source).scan(source, num_classes or class_names or None, first_label, map_tasks)
    if class_names:
        return order_classes(scans, class_names, source.name)
    if num_classes not in (None, len(scans.class_names)):
        raise BadUsage(
            f"--num-classes {num_classes}: {source.name} has its own classes, {len(scans.class_names)} of them"
        )
    return scans
