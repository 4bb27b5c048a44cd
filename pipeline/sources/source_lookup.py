"""Find the files of a data set: embedded, in a folder or store, in the cache, or downloaded; and scan them."""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from model.errors import BadInput, BadUsage
from model.recipes import nearest
from pipeline.progress import warn
from pipeline.sources import idx_source, image_folder, parquet_source
from pipeline.sources.blocks import SourceScan, refuse_unreadable
from pipeline.sources.catalog import (
    EMBEDDED,
    FILE_NAMES,
    KNOWN,
    SPLITS,
    AnySource,
    IdxSource,
    ImageFolderSource,
    KnownDataset,
    ParquetSource,
    PictureOptions,
)
from pipeline.sources.download import download_file
from pipeline.sources.found_layout import LAYOUTS, describe_found
from pipeline.storage.files import file_digest
from pipeline.storage.places import Place, place_of
from pipeline.storage.workspace import default_cache

MAX_NAME = 100  # characters: the data set's folder adds its digest, and file systems allow 255 bytes


@refuse_unreadable()
def find_source(
    dataset: str, data_dir: str | None, cache: Path | None, options: PictureOptions | None = None
) -> AnySource:
    """Find the files of a data set, and download them if a known data set is not in the cache.

    dataset is a known name; a folder or URI of four IDX files or of Parquet files; two Parquet files separated by a
    comma; or a folder of images, laid out as SPLIT/CLASS/IMAGE. data_dir holds the files of the known data set, and
    cache has a subfolder of downloads for each; None is the default one, which is not looked for unless it is needed.

    Raises:
        BadUsage: the name is unknown, or data_dir is given although dataset is a folder.
        BadInput: files are missing, or no mirror serves them.
    """
    known = KNOWN.get(dataset)
    if known is None:
        if data_dir is not None:
            listed = ", ".join(KNOWN)
            raise BadUsage(f"--data-dir goes with a known data set ({listed}), not with the folder {dataset!r}")
        find = _from_parquet_pair if dataset.endswith(".parquet") else _from_folder
        return find(dataset, options or PictureOptions())
    if data_dir is not None:
        return IdxSource(dataset, find_idx_files(data_dir), known)
    if Path(dataset).exists():
        warn(f"{dataset}: the known data set is taken, not the folder that is here; ./{dataset} means that")
    if not known.mirrors:
        return IdxSource(dataset, find_idx_files(EMBEDDED / dataset), known)
    folder = (cache or default_cache()).absolute() / dataset
    return IdxSource(dataset, tuple(_from_cache(dataset, known, folder)), known)


def _from_folder(dataset: str, options: PictureOptions) -> AnySource:
    place = place_of(dataset).absolute()  # workers may have another working directory
    local = place if isinstance(place, Path) else None
    if local and not local.exists():
        hint = nearest(dataset, KNOWN)
        raise BadUsage(f"no data set {dataset!r}{hint}: neither a folder nor one of {', '.join(KNOWN)}")
    if local and not local.is_dir():
        raise BadInput(f"--dataset {dataset} is {describe_found(local)}. What is read: {LAYOUTS}")
    name = _dataset_name(local.resolve().name if local else dataset)
    try:
        # First, because IDX files in a store are found by their names, without listing the folder.
        return IdxSource(name, find_idx_files(dataset), None)
    except BadInput:
        if local and any(_find_file(local, name) for name in FILE_NAMES):
            raise
        if any(place.glob("*.parquet")):
            return ParquetSource(name, find_parquet_files(place), options)
        if local and all((local / split).is_dir() for split in SPLITS):
            return ImageFolderSource(name, local, options)
        if local:
            raise BadInput(f"--dataset {dataset}: {describe_found(local)}. What is read: {LAYOUTS}") from None
        raise BadInput(f"--dataset {dataset}: nothing of that kind is there. What is read: {LAYOUTS}") from None


def _from_parquet_pair(dataset: str, options: PictureOptions) -> ParquetSource:
    files = dataset.split(",")
    if len(files) != len(SPLITS):
        raise BadUsage(
            f"--dataset {dataset}: expected the two files TRAIN.parquet,TEST.parquet, or a folder that holds "
            "train*.parquet and test*.parquet"
        )
    places = [place_of(file).absolute() for file in files]
    missing = [place for place in places if not place.is_file()]
    if missing:
        raise BadInput(f"no file {missing[0]}")
    splits: dict[str, tuple[Place, ...]] = {split: (place,) for split, place in zip(SPLITS, places, strict=True)}
    return ParquetSource(_dataset_name(str(places[0].parent)), splits, options)


def _dataset_name(place: str) -> str:
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", place.rstrip("/").split("/")[-1]).strip("-.")
    return name[:MAX_NAME] or "dataset"


def _from_cache(dataset: str, known: KnownDataset, folder: Path) -> Iterator[Place]:
    """Yield the four files; download those that are missing, or gzipped and damaged."""
    for name, digest in zip(FILE_NAMES, known.gzip_digests, strict=True):
        file = _find_file(folder, name)
        # Decompressed files were put there by the user. The scan checks their content.
        if file is None or (file.name.endswith(".gz") and file_digest(file) != digest):
            file = download_file(dataset, known.mirrors, folder / f"{name}.gz", digest)
        yield file


def find_parquet_files(folder: Place) -> dict[str, tuple[Place, ...]]:
    """Find the Parquet files of each split in a folder: names that begin with the split's name, sorted.

    Raises BadInput if a split has no file, or a file belongs to no split.
    """
    parquet_files: list[Place] = [*folder.glob("*.parquet")]
    files = sorted(parquet_files, key=str)
    others = [file for file in files if isinstance(file, Path) and not file.is_file()]
    if others:  # opening a pipe would wait for ever
        raise BadInput(
            f"{others[0]} is no file, nor a link to one; name the files: --dataset TRAIN.parquet,TEST.parquet"
        )
    # A letter after the split's name makes another word: "training" and "testimony" belong to no split.
    names = {split: re.compile(rf"{split}([^A-Za-z].*)?") for split in SPLITS}
    files_by_split = {split: tuple(file for file in files if names[split].fullmatch(file.stem)) for split in SPLITS}
    stray = [file.name for file in files if file not in chain(*files_by_split.values())]
    if stray or not all(files_by_split.values()):
        problem = f"{', '.join(stray)} is of neither split" if stray else "a split is missing"
        raise BadInput(
            f"{folder}: {problem}: expected Parquet files whose names begin with train and test, such as train.parquet "
            "and test-00000-of-00001.parquet; or name two files: --dataset TRAIN.parquet,TEST.parquet"
        )
    return files_by_split


def find_idx_files(folder: str | Place) -> tuple[Place, ...]:
    """Find the four IDX files of a folder or URI by their customary names, with or without .gz; raises BadInput."""
    root = place_of(folder).absolute()  # workers may have another working directory
    files = [_find_file(root, name) for name in FILE_NAMES]
    missing = [name for name, file in zip(FILE_NAMES, files, strict=True) if file is None]
    if missing:
        raise BadInput(f"{folder}: missing {', '.join(missing)} (each may end in .gz)")
    return tuple(file for file in files if file is not None)


def _find_file(folder: Place, name: str) -> Place | None:
    candidates = (folder / f"{name}{ending}" for ending in ("", ".gz"))
    return next((file for file in candidates if file.is_file()), None)


@refuse_unreadable()
def scan_source(source: AnySource, num_classes: int | None = None, first_label: int = 0) -> SourceScan:
    """Read all files of a source and check that they are undamaged and fit together.

    num_classes and first_label, the label of the first class, are for data sets that do not name their classes; by
    default the labels are 0 to the largest one of the train split.

    Raises:
        BadInput: a file is damaged, is not what it claims to be, or does not fit the others.
        BadUsage: num_classes or first_label is not that of the classes that the data set names.
    """
    if isinstance(source, ParquetSource):
        return parquet_source.scan(source, num_classes, first_label)
    if isinstance(source, ImageFolderSource):
        return image_folder.scan(source, num_classes, first_label)
    return idx_source.scan(source, num_classes, first_label)
