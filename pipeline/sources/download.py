"""Getting a known data set: the embedded one, files that are there already, or a download that is checked."""

import re
import time
from pathlib import Path
from typing import Self

import pooch
import requests

from model.errors import BadInput, BadUsage
from model.recipes import nearest
from pipeline.progress import download_progress, say, warn
from pipeline.sources.catalog import (
    EMBEDDED,
    FILE_NAMES,
    KNOWN,
    SPLITS,
    AnySource,
    KnownDataset,
    PictureOptions,
    RowsSource,
    Source,
    TreeSource,
    find_files,
    find_rows,
)
from pipeline.storage.files import file_digest
from pipeline.storage.places import Place, is_remote, place_of

TIMEOUT_SECONDS = 15
MAX_NAME = 100  # characters of a folder's name that go into the names of data sets
WAITS_SECONDS: tuple[float, ...] = (1, 4)  # before a mirror is asked for a file again


def find_source(dataset: str, data_dir: str | None, cache: Path, options: PictureOptions | None = None) -> AnySource:
    """Find the files of a data set, downloading them if they are nowhere else.

    Args:
        dataset: a known name; a folder or URI that holds four IDX files; a folder of Parquet files, two of them with
            a comma between, or a folder of images, a folder a class below train/ and test/.
        data_dir: a folder that holds the files of the known data set.
        cache: where downloads are kept, a folder a data set.
        options: what the user says of pictures.

    Raises:
        BadUsage: the name is unknown, a folder was given twice.
        BadInput: the files are not there, or no mirror gave them.
    """
    known = KNOWN.get(dataset)
    if known is None:
        return _from_folder(dataset, data_dir, options or PictureOptions())
    if data_dir is not None:
        return Source(dataset, find_files(data_dir), known)
    if not known.mirrors:
        return Source(dataset, find_files(EMBEDDED / dataset), known)
    return Source(dataset, _from_cache(dataset, known, cache / dataset), known)


def _from_folder(dataset: str, data_dir: str | None, options: PictureOptions) -> AnySource:
    if data_dir is not None:
        raise BadUsage(f"--data-dir goes with a known data set ({', '.join(KNOWN)}), not with the folder {dataset!r}")
    if dataset.endswith(".parquet"):
        return _from_pair(dataset, options)
    if is_remote(dataset):
        return _from_store(dataset, options)
    folder = Path(dataset)
    if not folder.is_dir():
        hint = nearest(dataset, KNOWN)
        raise BadUsage(f"no data set {dataset!r}{hint}: neither a folder nor one of {', '.join(KNOWN)}")
    name, place = _name(folder.resolve().name), folder.absolute()  # workers may run in another folder
    if not any(folder.glob("*-ubyte*")):
        if any(folder.glob("*.parquet")):
            return RowsSource(name, find_rows(place), options)
        if any((folder / split).is_dir() for split in SPLITS):
            return TreeSource(name, place, options)
    return Source(name, find_files(folder), None)


def _from_store(dataset: str, options: PictureOptions) -> AnySource:
    """Find IDX files in a folder of a store, by their names, or else Parquet files, for which it is listed."""
    try:
        return Source(_name(dataset), find_files(dataset), None)
    except BadInput:
        place = place_of(dataset)
        if not any(place.glob("*.parquet")):
            raise
    return RowsSource(_name(dataset), find_rows(place), options)


def _from_pair(dataset: str, options: PictureOptions) -> RowsSource:
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
    return RowsSource(_name(str(places[0].parent)), splits, options)


def _name(place: str) -> str:
    """Make a name of the last part of a path or URI."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", place.rstrip("/").split("/")[-1]).strip("-.")
    return name[:MAX_NAME] or "dataset"


def _from_cache(dataset: str, known: KnownDataset, folder: Path) -> tuple[Place, ...]:
    try:
        found = find_files(folder)
        if not _damaged(found, known):
            return found
    except BadInput:
        pass
    return tuple(
        _download(dataset, known, folder, name, digest)
        for name, digest in zip(FILE_NAMES, known.gzip_digests, strict=True)
    )


def _damaged(files: tuple[Place, ...], known: KnownDataset) -> bool:
    """Tell whether a gzip file of the cache is not what the mirrors serve; downloading replaces it.

    Decompressed files are a user's own and are judged by their content later.
    """
    return any(
        file.name.endswith(".gz") and file_digest(file) != digest
        for file, digest in zip(files, known.gzip_digests, strict=True)
    )


def _download(dataset: str, known: KnownDataset, folder: Path, name: str, digest: str) -> Path:
    """Fetch one file from the first mirror that serves the right bytes."""
    failures = []
    for mirror in known.mirrors:
        try:
            return _fetch_patiently(mirror, folder, f"{name}.gz", digest)
        except (requests.RequestException, ValueError) as problem:  # pooch raises ValueError for a wrong digest
            tries = f" (tried {len(WAITS_SECONDS) + 1} times)" if _may_pass(problem) else ""
            failures.append(f"  {mirror}{name}.gz: {_first_line(problem)}{tries}")
    raise BadInput(
        f"{dataset}: {name}.gz could not be downloaded:\n" + "\n".join(failures) + f"\nPut {', '.join(FILE_NAMES)} "
        f"(each gzipped or not) into {folder}, or name their folder with --data-dir."
    )


def _fetch_patiently(mirror: str, folder: Path, name: str, digest: str) -> Path:
    """Fetch one file from one mirror; if that breaks off, again from its beginning, as no mirror promises ranges."""
    for wait in WAITS_SECONDS:
        try:
            return _fetch(mirror, folder, name, digest)
        except requests.RequestException as problem:
            if not _may_pass(problem):
                raise
            warn(f"{name}: {mirror} failed, trying again in {wait:g} s: {_first_line(problem)}")
        time.sleep(wait)
    return _fetch(mirror, folder, name, digest)


def _may_pass(problem: Exception) -> bool:
    """Tell whether a request may succeed a little later: it broke off, took too long, or the server is overloaded."""
    if isinstance(problem, requests.HTTPError):
        code = problem.response.status_code
        return bool(code >= requests.codes.server_error or code == requests.codes.too_many_requests)
    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(problem, passing)


def _fetch(mirror: str, folder: Path, name: str, digest: str) -> Path:
    """Fetch one file from one mirror, into place only if its digest is right."""
    pooch.get_logger().setLevel("ERROR")  # our own messages say what happened
    registry = {name: f"sha256:{digest}"}
    mirrored = pooch.create(path=folder, base_url=mirror, registry=registry)
    with _Bar(name) as bar:
        downloader = pooch.HTTPDownloader(
            progressbar=bar,
            chunk_size=2**16,
            timeout=TIMEOUT_SECONDS,
            headers={"Accept-Encoding": "identity"},  # the digest is of the gzip file, not of its content
        )
        place = Path(mirrored.fetch(name, downloader=downloader))
    say(f"{name}: from {mirror}{bar.describe()}")
    return place


def _first_line(problem: Exception) -> str:
    return str(problem).splitlines()[0][:300]


class _Bar:
    """A rich progress bar in the shape that pooch expects of one."""

    def __init__(self, name: str) -> None:
        self._progress = download_progress()
        self._task = self._progress.add_task(name, total=None)
        self._started = time.monotonic()

    def describe(self) -> str:
        """Say how much was fetched how fast."""
        seconds, amount = time.monotonic() - self._started, self._progress.tasks[0].completed / 2**20
        return f", {amount:.1f} MiB in {seconds:.1f} s, {amount / max(seconds, 1e-9):.1f} MiB a second"

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @property
    def total(self) -> float | None:
        return self._progress.tasks[0].total

    @total.setter
    def total(self, num_bytes: float) -> None:  # pooch says so at the start of every try
        self._progress.reset(self._task, total=num_bytes or None)

    def update(self, num_bytes: int) -> None:
        self._progress.advance(self._task, num_bytes)

    def reset(self) -> None:
        self._progress.reset(self._task)

    def close(self) -> None:
        """Leave it to the context manager, which also ends a download that failed."""
