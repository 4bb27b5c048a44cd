"""Find the files of a data set: embedded, in a folder or store, in the cache, or downloaded and verified."""

import re
import time
from pathlib import Path
from typing import Self

import pooch
import requests

from model.errors import BadInput, BadUsage
from model.recipes import nearest
from pipeline.progress import download_progress, show_message, warn
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
    find_idx_files,
    find_parquet_files,
)
from pipeline.storage.files import file_digest
from pipeline.storage.places import Place, is_remote, place_of

TIMEOUT_SECONDS = 15
MAX_NAME = 100  # characters: the data set's folder adds its digest, and file systems allow 255 bytes
WAITS_SECONDS: tuple[float, ...] = (1, 4)  # before each retry of the same mirror


class _PerhapsIncomplete(requests.ConnectionError):  # type: ignore[misc]
    """A file of unknown length has the wrong digest: the connection may have broken before its end."""


def find_source(dataset: str, data_dir: str | None, cache: Path, options: PictureOptions | None = None) -> AnySource:
    """Find the files of a data set, and download them if a known data set is not in the cache.

    Args:
        dataset: a known name; a folder or URI of four IDX files or of Parquet files; two Parquet files separated by a
            comma; or a folder of images, laid out as SPLIT/CLASS/IMAGE.
        data_dir: a folder that holds the files of the known data set.
        cache: folder of downloads, one subfolder for each data set.
        options: the user's options for encoded images.

    Raises:
        BadUsage: the name is unknown, or data_dir is given although dataset is a folder.
        BadInput: files are missing, or no mirror serves them.
    """
    known = KNOWN.get(dataset)
    if known is None:
        return _from_folder(dataset, data_dir, options or PictureOptions())
    if data_dir is not None:
        return IdxSource(dataset, find_idx_files(data_dir), known)
    if not known.mirrors:
        return IdxSource(dataset, find_idx_files(EMBEDDED / dataset), known)
    return IdxSource(dataset, _from_cache(dataset, known, cache / dataset), known)


def _from_folder(dataset: str, data_dir: str | None, options: PictureOptions) -> AnySource:
    if data_dir is not None:
        raise BadUsage(f"--data-dir goes with a known data set ({', '.join(KNOWN)}), not with the folder {dataset!r}")
    if dataset.endswith(".parquet"):
        return _from_parquet_pair(dataset, options)
    if is_remote(dataset):
        return _from_store(dataset, options)
    folder = Path(dataset)
    if not folder.is_dir():
        hint = nearest(dataset, KNOWN)
        raise BadUsage(f"no data set {dataset!r}{hint}: neither a folder nor one of {', '.join(KNOWN)}")
    name = _dataset_name(folder.resolve().name)
    place = folder.absolute()  # workers may have another working directory
    if not any(folder.glob("*-ubyte*")):
        if any(folder.glob("*.parquet")):
            return ParquetSource(name, find_parquet_files(place), options)
        if any((folder / split).is_dir() for split in SPLITS):
            return ImageFolderSource(name, place, options)
    return IdxSource(name, find_idx_files(folder), None)


def _from_store(dataset: str, options: PictureOptions) -> AnySource:
    """Find IDX files in a folder of a store, else Parquet files; IDX first, because their names need no listing."""
    name = _dataset_name(dataset)
    try:
        return IdxSource(name, find_idx_files(dataset), None)
    except BadInput:
        place = place_of(dataset)
        if not any(place.glob("*.parquet")):
            raise
    return ParquetSource(name, find_parquet_files(place), options)


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
    """Derive a data set's name from the last part of a path or URI."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", place.rstrip("/").split("/")[-1]).strip("-.")
    return name[:MAX_NAME] or "dataset"


def _from_cache(dataset: str, known: KnownDataset, folder: Path) -> tuple[Place, ...]:
    try:
        files = find_idx_files(folder)
        if not _is_damaged(files, known):
            return files
    except BadInput:  # files are missing: not downloaded yet, or only some of them
        pass
    return tuple(
        _download(dataset, known, folder, name, digest)
        for name, digest in zip(FILE_NAMES, known.gzip_digests, strict=True)
    )


def _is_damaged(files: tuple[Place, ...], known: KnownDataset) -> bool:
    """Return whether a gzip file of the cache differs from the mirrors' file; a download then replaces it.

    Decompressed files were put there by the user. The scan checks their content.
    """
    return any(
        file.name.endswith(".gz") and file_digest(file) != digest
        for file, digest in zip(files, known.gzip_digests, strict=True)
    )


def _download(dataset: str, known: KnownDataset, folder: Path, name: str, digest: str) -> Path:
    """Download one file from the first mirror that serves the expected bytes."""
    failures = []
    for mirror in known.mirrors:
        try:
            return _fetch_with_retries(mirror, folder, f"{name}.gz", digest)
        except (requests.RequestException, ValueError) as error:  # pooch raises ValueError for a wrong digest
            tries = f" (tried {len(WAITS_SECONDS) + 1} times)" if _is_transient(error) else ""
            failures.append(f"  {mirror}{name}.gz: {_first_line(error)}{tries}")
    raise BadInput(
        f"{dataset}: {name}.gz could not be downloaded:\n" + "\n".join(failures) + f"\nPut {', '.join(FILE_NAMES)} "
        f"(each gzipped or not) into {folder}, or name their folder with --data-dir."
    )


def _fetch_with_retries(mirror: str, folder: Path, name: str, digest: str) -> Path:
    """Download one file from one mirror, each try from its beginning: not every mirror supports range requests."""
    for wait in WAITS_SECONDS:
        try:
            return _fetch(mirror, folder, name, digest)
        except requests.RequestException as error:
            if not _is_transient(error):
                raise
            warn(f"{name}: {mirror} failed, trying again in {wait:g} s: {_first_line(error)}")
        time.sleep(wait)
    return _fetch(mirror, folder, name, digest)


def _is_transient(error: Exception) -> bool:
    """Return whether a retry may succeed: the connection broke or timed out, or the server is overloaded."""
    if isinstance(error, requests.HTTPError):
        code = error.response.status_code
        return bool(code >= requests.codes.server_error or code == requests.codes.too_many_requests)
    transient = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, transient)


def _fetch(mirror: str, folder: Path, name: str, digest: str) -> Path:
    """Download one file from one mirror; pooch renames it into place only if its digest is right.

    Raises:
        requests.RequestException: the request failed, or the file may be incomplete.
        ValueError: the file is complete and its digest is wrong.
    """
    pooch.get_logger().setLevel("ERROR")  # its notes would repeat our messages
    registry = {name: f"sha256:{digest}"}
    mirrored = pooch.create(path=folder, base_url=mirror, registry=registry)
    with _ProgressBar(name) as bar:
        downloader = pooch.HTTPDownloader(
            progressbar=bar,
            chunk_size=2**16,
            timeout=TIMEOUT_SECONDS,
            headers={"Accept-Encoding": "identity"},  # the digest is of the gzip file, not of its content
        )
        try:
            place = Path(mirrored.fetch(name, downloader=downloader))
        except requests.RequestException:  # of which some are ValueErrors
            raise
        except ValueError as error:
            if bar.total is None:
                raise _PerhapsIncomplete(f"perhaps incomplete, its length is unknown: {_first_line(error)}") from error
            raise
    show_message(f"{name}: from {mirror}{bar.describe()}")
    return place


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]


class _ProgressBar:
    """A rich progress bar with the interface that pooch requires."""

    def __init__(self, name: str) -> None:
        self._progress = download_progress()
        self._task = self._progress.add_task(name, total=None)
        self._started = time.monotonic()

    def describe(self) -> str:
        """Return the size, duration and rate of the download."""
        seconds = time.monotonic() - self._started
        mebibytes = self._progress.tasks[0].completed / 2**20
        return f", {mebibytes:.1f} MiB in {seconds:.1f} s, {mebibytes / max(seconds, 1e-9):.1f} MiB a second"

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @property
    def total(self) -> float | None:
        return self._progress.tasks[0].total

    @total.setter
    def total(self, num_bytes: float) -> None:  # pooch sets it at the start of every download
        self._progress.reset(self._task, total=num_bytes or None)

    def update(self, num_bytes: int) -> None:
        self._progress.advance(self._task, num_bytes)

    def reset(self) -> None:
        self._progress.reset(self._task)

    def close(self) -> None:
        """Do nothing: the context manager stops the bar, after a failed download too."""
