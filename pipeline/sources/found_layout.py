"""Describe what a place holds that is no data set: for the error, which also says which layouts are read."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pipeline.sources.catalog import REQUIRED_SPLITS
from pipeline.sources.picture_headers import START_BYTES, is_picture

MAX_ENTRIES = 1000  # that are looked at in a folder
_SHOWN = 3  # names that are listed of a kind
_KINDS = {
    ".csv": "CSV file",
    ".tsv": "TSV file",
    ".npz": "NumPy file",
    ".npy": "NumPy file",
    ".pkl": "pickle",
    ".mat": "MATLAB file",
    ".h5": "HDF5 file",
    ".hdf5": "HDF5 file",
    ".arrow": "Arrow file",
    ".json": "JSON file",
    ".jsonl": "JSON file",
    ".tfrecord": "TFRecord file",
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst"), "archive"),
    ".gz": "gzip file",
}


def describe_found(place: Path) -> str:
    """Return what is at a place of this machine, in one line, with advice if it nearly is a data set."""
    if not place.is_dir():
        return f"no folder but a file ({_kind_of(place)})"
    entries = [path for path in islice(place.iterdir(), MAX_ENTRIES) if not path.name.startswith(".")]
    advice = next(_advise(place, entries), "")
    kinds = Counter(_kind_of(path) for path in entries)
    listed = [
        _describe_kind(kind, count, sorted(path.name for path in entries if _kind_of(path) == kind))
        for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    ]
    return f"found {'; '.join(listed) or 'an empty folder'}{advice}"


def _describe_kind(kind: str, count: int, names: list[str]) -> str:
    more = " ..." if count > _SHOWN else ""
    return f"{count} {kind}{'s' * (count > 1)} ({', '.join(names[:_SHOWN])}{more})"


def _kind_of(path: Path) -> str:
    if path.is_dir():
        return "folder"
    if not path.is_file():
        return "link or device"
    if path.suffix.lower() in _KINDS:
        return _KINDS[path.suffix.lower()]
    with path.open("rb") as stream:
        return "picture" if is_picture(stream.read(START_BYTES)) else "other file"


def _advise(place: Path, entries: list[Path]) -> Iterator[str]:
    """Yield what to do about layouts that are nearly those of a data set, the likeliest first."""
    names = {path.name for path in entries}
    folders = [path for path in entries if path.is_dir()]
    for split, other in (REQUIRED_SPLITS, REQUIRED_SPLITS[::-1]):
        if split in names and other not in names:
            yield f": there is {split}/ but no {other}/{' (or give --test-share 0.2)' if split == 'train' else ''}"
    if any(_kind_of(path) == "picture" for each in folders for path in islice(each.iterdir(), 1)):
        yield (
            ": folders of pictures, but no splits: put some of each into train/ and the others into test/, or give "
            "--test-share 0.2"
        )
    if any(_kind_of(path) == "archive" for path in entries):
        yield ": unpack the archive first"
