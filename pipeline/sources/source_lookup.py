"""Find the files of a data set: embedded, in a folder or store, in the cache, or downloaded; and scan them."""

import re
from collections.abc import Iterator
from pathlib import Path

from model.errors import BadInput, BadUsage
from model.recipes import nearest
from pipeline.sources import idx_source, image_folder, parquet_source
from pipeline.sources.blocks import SourceScan
from pipeline.sources.catalog import (
    EMBEDDED,
    FILE_NAMES,
    KNOWN,
    AnySource,
    IdxSource,
    KnownDataset,
    PictureOptions,
    split_file_names,
)
from pipeline.sources.download import download_file
from pipeline.sources.idx_files import find_file, find_idx_files
from pipeline.sources.layouts import SourceLayout
from pipeline.storage.files import file_digest
from pipeline.storage.places import Place, place_of

MAX_NAME = 100  # characters: the data set's folder adds its digest, and file systems allow 255 bytes


def find_source(dataset: str, data_dir: str | None, cache: Path, options: PictureOptions | None = None) -> AnySource:
    """Find the files of a data set, and download them if a known data set is not in the cache.

    dataset is a known name; a folder or URI of four IDX files or of Parquet files; two Parquet files separated by a
    comma; or a folder of images, laid out as SPLIT/CLASS/IMAGE. data_dir holds the files of the known data set, and
    cache has a subfolder of downloads for each.

    Raises:
        BadUsage: the name is unknown, or data_dir is given although dataset is a folder.
        BadInput: files are missing, or no mirror serves them.
    """
    known = KNOWN.get(dataset)
    if known is None:
        if data_dir is not None:
            listed = ", ".join(KNOWN)
            raise BadUsage(f"--data-dir goes with a known data set ({listed}), not with the folder {dataset!r}")
        find = _from_files if split_file_names(dataset) else _from_folder
        return find(dataset, options or PictureOptions())
    if data_dir is not None:
        return IdxSource(dataset, find_idx_files(data_dir), known)
    if not known.mirrors:
        return IdxSource(dataset, find_idx_files(EMBEDDED / dataset), known)
    return IdxSource(dataset, tuple(_from_cache(dataset, known, cache.absolute() / dataset)), known)


def _from_folder(dataset: str, options: PictureOptions) -> AnySource:
    place = place_of(dataset).absolute()  # workers may have another working directory
    local = place if isinstance(place, Path) else None
    if local and not local.is_dir():
        hint = nearest(dataset, KNOWN)
        raise BadUsage(f"no data set {dataset!r}{hint}: neither a folder nor one of {', '.join(KNOWN)}")
    name = _dataset_name(local.resolve().name if local else dataset)
    layout = next((layout for layout in LAYOUTS if layout.holds(place)), LAYOUTS[0])
    return layout.find(name, place, options)


def _from_files(dataset: str, options: PictureOptions) -> AnySource:
    """Find the files that --dataset names one by one."""
    places = tuple(place_of(file).absolute() for file in split_file_names(dataset))
    finders = (finder for layout in LAYOUTS for finder in layout.file_finders.items())
    find = next(find for ending, find in finders if dataset.lower().endswith(ending))
    source = find(_dataset_name(str(places[0].parent)), places, options)
    missing = [place for place in places if not place.is_file()]
    if missing:
        raise BadInput(f"no file {missing[0]}")
    return source


def _dataset_name(place: str) -> str:
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", place.rstrip("/").split("/")[-1]).strip("-.")
    return name[:MAX_NAME] or "dataset"


def _from_cache(dataset: str, known: KnownDataset, folder: Path) -> Iterator[Place]:
    """Yield the four files; download those that are missing, or gzipped and damaged."""
    for name, digest in zip(FILE_NAMES, known.gzip_digests, strict=True):
        file = find_file(folder, name)
        # Decompressed files were put there by the user. The scan checks their content.
        if file is None or (file.name.endswith(".gz") and file_digest(file) != digest):
            file = download_file(dataset, known.mirrors, folder / f"{name}.gz", digest)
        yield file


LAYOUTS = (idx_source.LAYOUT, parquet_source.LAYOUT, image_folder.LAYOUT)  # the first that holds a folder is taken
_USES = {
    "image_column": "Parquet files",
    "label_column": "Parquet files",
    "image_size": "pictures that do not state their size",
}


def check_options(options: PictureOptions, source: AnySource) -> None:
    """Raise BadUsage if one of the user's options does not apply to the layout of a source."""
    layout = _layout_of(source)
    for field, value in options._asdict().items():
        if value is not None and field not in layout.options:
            option = f"--{field.replace('_', '-')}"
            raise BadUsage(f"{option} goes with {_USES[field]}, and {source.name} is of {layout.title}")


def _layout_of(source: AnySource) -> SourceLayout:
    return next(layout for layout in LAYOUTS if isinstance(source, layout.kind))


def scan_source(source: AnySource, num_classes: int | None = None) -> SourceScan:
    """Read all files of a source and check that they are undamaged and fit together.

    num_classes is for data sets that do not name their classes; by default the largest train label plus one.

    Raises:
        BadInput: a file is damaged, is not what it claims to be, or does not fit the others.
        BadUsage: num_classes is not the number of classes that the data set names.
    """
    return _layout_of(source).scan(source, num_classes)
