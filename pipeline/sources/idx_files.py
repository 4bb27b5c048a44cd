"""Find the four IDX files of a data set in a folder or store."""

from model.errors import BadInput
from pipeline.sources.catalog import FILE_NAMES
from pipeline.storage.places import Place, place_of


def holds_idx_files(folder: Place) -> bool:
    """Return whether a folder has a file with the name of an IDX file; in a store, without listing the folder."""
    return any(find_file(folder, name) for name in FILE_NAMES)


def find_idx_files(folder: str | Place) -> tuple[Place, ...]:
    """Find the four IDX files of a folder or URI by their customary names, with or without .gz; raises BadInput."""
    root = place_of(folder).absolute()  # workers may have another working directory
    files = [find_file(root, name) for name in FILE_NAMES]
    missing = [name for name, file in zip(FILE_NAMES, files, strict=True) if file is None]
    if missing:
        raise BadInput(f"{folder}: missing {', '.join(missing)} (each may end in .gz)")
    return tuple(file for file in files if file is not None)


def find_file(folder: Place, name: str) -> Place | None:
    """Return the file of a name, gzipped or not, if there is one."""
    candidates = (folder / f"{name}{ending}" for ending in ("", ".gz"))
    return next((file for file in candidates if file.is_file()), None)
