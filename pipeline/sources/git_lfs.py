"""Pointers of Git LFS: short texts that a clone without `git lfs` has in place of large files."""

from pathlib import Path

from model.errors import BadInput
from pipeline.storage.files import read_range
from pipeline.storage.places import Place

POINTER = b"version https://git-lfs.github.com/spec/"  # its first bytes


def refuse_pointer(file: Place) -> None:
    """Raise BadInput for a file of this machine that is a pointer; one in a store costs no request."""
    if isinstance(file, Path) and file.is_file() and read_range(file, 0, len(POINTER)) == POINTER:
        raise BadInput(f"{file} is a pointer of Git LFS: `git lfs pull` in its folder fetches the file itself")
