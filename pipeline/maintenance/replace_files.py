"""Files that were made again in a scratch folder, compared with what should be there and put in place one by one.

Nothing is put in place that is not what the record says, byte by byte.
"""

from collections.abc import Iterable
from typing import NamedTuple

from model.errors import CorruptArtefact
from pipeline.storage.files import file_digest, size_or_none, write_atomically
from pipeline.storage.places import Place
from pipeline.storage.records import FileInfo


class RebuiltFile(NamedTuple):
    """A file that was made again.

    Attributes:
        target: where it belongs.
        info: what was made.
        source: the file.
    """

    target: Place
    info: FileInfo
    source: Place


def as_rebuilt_files(target: Place, source: Place) -> RebuiltFile:
    """Describe a file that was made again."""
    return RebuiltFile(target, FileInfo.of(source).model_copy(update={"name": target.name}), source)


def replace_named_files(
    files: Iterable[RebuiltFile], recorded: Iterable[tuple[Place, FileInfo]], faulty: set[str]
) -> list[Place]:
    """Put back the faulty ones of the files that a sound record names.

    Args:
        files: all that were made again.
        recorded: what the record says of each.
        faulty: the files that are not as recorded.

    Returns:
        what was put back.

    Raises:
        CorruptArtefact: one is another than the record says; nothing was changed.
    """
    wanted = {str(path): info.sha256 for path, info in recorded}
    chosen = [file for file in files if str(file.target) in faulty]
    for file in chosen:
        if wanted.get(str(file.target)) != file.info.sha256:
            raise CorruptArtefact(
                f"{file.target}: made again it has SHA-256 {file.info.sha256}, and its record says "
                f"{wanted.get(str(file.target))}: nothing was changed"
            )
    return replace_file(chosen)


def replace_differing_files(files: Iterable[RebuiltFile]) -> list[Place]:
    """Put those files in place that are not there as they are, the last of them last; return which they were."""
    return replace_file([file for file in files if not matches_record(file)])


def replace_file(files: Iterable[RebuiltFile]) -> list[Place]:
    """Put files in place, in order."""
    done = []
    for file in files:
        write_atomically(file.target, file.source.read_bytes())
        done.append(file.target)
    return done


def matches_record(file: RebuiltFile) -> bool:
    """Tell whether the file that was made again is what stands in its place."""
    if size_or_none(file.target) != file.info.num_bytes:
        return False
    return file_digest(file.target) == file.info.sha256
