"""Replace damaged files by rebuilt ones from a scratch workspace.

A file is replaced only by one with the recorded SHA-256, unless the caller writes a new record for it.
"""

from collections.abc import Iterable
from typing import NamedTuple

from model.errors import CorruptArtefact
from pipeline.storage.files import file_digest, size_or_none, write_atomically
from pipeline.storage.places import Place
from pipeline.storage.records import FileInfo


class RebuiltFile(NamedTuple):
    """A rebuilt file that is not in place yet.

    Attributes:
        target: the path of the file that it replaces.
        info: the name, size and SHA-256 of the rebuilt file.
        source: the path of the rebuilt file.
    """

    target: Place
    info: FileInfo
    source: Place


def describe_rebuilt(target: Place, source: Place) -> RebuiltFile:
    """Return a rebuilt file with its size and SHA-256."""
    return RebuiltFile(target, FileInfo.of(source).model_copy(update={"name": target.name}), source)


def replace_recorded_files(
    files: Iterable[RebuiltFile], recorded: Iterable[tuple[Place, FileInfo]], faulty: set[str]
) -> list[Place]:
    """Replace the damaged files that an intact record names.

    Args:
        files: all rebuilt files of the artefact.
        recorded: (path, recorded info) of each file of the artefact.
        faulty: the paths of the damaged files; no other file is replaced.

    Returns:
        the paths of the replaced files.

    Raises:
        CorruptArtefact: a rebuilt file has another SHA-256 than the record says; nothing was changed.
    """
    digests = {str(path): info.sha256 for path, info in recorded}
    chosen = [file for file in files if str(file.target) in faulty]
    for file in chosen:
        digest = digests.get(str(file.target))
        if digest != file.info.sha256:
            raise CorruptArtefact(
                f"{file.target}: made again it has SHA-256 {file.info.sha256}, and its record says {digest}: nothing "
                "was changed"
            )
    return _replace_files(chosen)


def replace_differing_files(files: Iterable[RebuiltFile]) -> list[Place]:
    """Replace the files that differ from the rebuilt ones, in order (the record last); return their paths."""
    return _replace_files([file for file in files if not _is_in_place(file)])


def _replace_files(files: Iterable[RebuiltFile]) -> list[Place]:
    replaced = []
    for file in files:
        write_atomically(file.target, file.source.read_bytes())
        replaced.append(file.target)
    return replaced


def _is_in_place(file: RebuiltFile) -> bool:
    if size_or_none(file.target) != file.info.num_bytes:
        return False
    return file_digest(file.target) == file.info.sha256
