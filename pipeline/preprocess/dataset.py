"""Find, load and check complete data sets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from model.errors import CorruptArtefact, Damage, StorageFailed
from pipeline.preprocess.manifest import MANIFEST_NAME, Manifest
from pipeline.sources.catalog import REQUIRED_SPLITS
from pipeline.sources.scan_tasks import MAX_TASKS, MapTasks, choose_runner, cut_evenly, map_here
from pipeline.storage.files import digest_of, read_record_bytes
from pipeline.storage.places import Place
from pipeline.storage.records import FileInfo
from pipeline.storage.workspace import find_complete

FileIn: TypeAlias = tuple[Place, FileInfo]  # a file and its folder


@dataclass(frozen=True)
class Dataset:
    """A complete data set; digest is the SHA-256 of the manifest as first written, which has those of all files."""

    folder: Place
    manifest: Manifest
    digest: str


def load_dataset(folder: Place) -> Dataset:
    """Load only the manifest of a data set; raises CorruptArtefact if it is invalid or belongs to another data set."""
    path = folder / MANIFEST_NAME
    data = read_record_bytes(path)
    manifest = Manifest.from_json(data, path)
    if manifest.dataset_id != folder.name:
        raise CorruptArtefact(f"{path} describes {manifest.dataset_id}, expected {folder.name}")
    if not {*REQUIRED_SPLITS} <= {*manifest.splits}:
        raise CorruptArtefact(f"{path} is corrupt: expected the splits {' and '.join(REQUIRED_SPLITS)}")
    return Dataset(folder, manifest, manifest.as_written or digest_of(data))


def check_dataset(folder: Place, map_tasks: MapTasks = map_here) -> Dataset:
    """Load a data set and check all files; raises CorruptArtefact for the first that does not match.

    map_tasks runs the tasks that read the files of a large data set.
    """
    dataset = load_dataset(folder)
    check_files(list_dataset_files(dataset), map_tasks)
    return dataset


def list_dataset_files(dataset: Dataset) -> list[FileIn]:
    """List the files that a data set's manifest names, or those of its parts; raises as `check_parts`."""
    if not dataset.manifest.parts:
        return [(dataset.folder, file) for file in dataset.manifest.files()]
    check_parts(dataset)
    parts = [load_dataset(dataset.folder.parent / part.dataset_id) for part in dataset.manifest.parts]
    return [file for part in parts for file in list_dataset_files(part)]


def find_damage_in_share(dataset: Dataset, number: int, num_shares: int) -> Damage | None:
    """Check one of equal shares of a data set's files and return the first damage; raises StorageFailed.

    The shares are consecutive, so the first damage of all is that of the first share that has some.
    """
    try:
        files = list_dataset_files(dataset)
    except CorruptArtefact as problem:
        return str(problem), problem.hint
    edges = [len(files) * edge // num_shares for edge in (number, number + 1)]
    return find_damage(files[slice(*edges)])


def check_files(files: Sequence[FileIn], map_tasks: MapTasks) -> None:
    """Check files, each in a folder, in tasks of equally many; raises as `check_dataset`, and StorageFailed."""
    run = choose_runner(sum(file.num_bytes for _, file in files), map_tasks)
    for damage in run(find_damage, cut_evenly(files, MAX_TASKS), Damage | None):
        if damage:
            raise CorruptArtefact.of_damage(damage)


def find_damage(files: Sequence[FileIn]) -> Damage | None:
    """Check files and return the damage of the first that does not match its record; raises StorageFailed."""
    try:
        for folder, file in files:
            file.check(folder)
    except CorruptArtefact as problem:
        return str(problem), problem.hint
    except OSError as problem:
        raise StorageFailed(f"storage: {problem}") from problem
    return None


def check_parts(joint: Dataset) -> None:
    """Check that the manifest of each part of a joint data set is as recorded; raises CorruptArtefact if not."""
    folder = joint.folder
    for number, part in enumerate(joint.manifest.parts):
        part_folder = folder.parent / part.dataset_id
        if not (part_folder / MANIFEST_NAME).exists():
            raise CorruptArtefact(f"{part_folder}, a part of {folder.name}, is missing: preprocess it again")
        found = load_dataset(part_folder)
        if found.manifest.parts:  # `check_dataset` would follow a circle of parts for ever
            raise CorruptArtefact(f"{part_folder}, a part of {folder.name}, has parts itself")
        if found.digest != part.dataset_digest:
            raise CorruptArtefact(
                f"{part_folder} is not the part that {folder.name} names: expected {part.dataset_digest}"
            )
        for name, split in joint.manifest.splits.items():
            listed = [shard.model_copy(update={"part": None}) for shard in split.shards if shard.part == number]
            own = found.manifest.splits[name].shards if name in found.manifest.splits else ()
            if list(own) != listed:
                raise CorruptArtefact(
                    f"{folder / MANIFEST_NAME} lists other shards of {name} than {found.manifest.dataset_id} has"
                )


def find_dataset(workspace: Place, name: str | None, load: Callable[[Place], Dataset] = check_dataset) -> Dataset:
    """Find a complete data set by its id or the beginning of it (None: the only one), and check its files.

    load may be `load_dataset`, which reads only the manifest. Raises BadUsage as `find_complete`, and as load does.
    """
    return load(find_complete(workspace / "datasets", MANIFEST_NAME, name, "data set"))


def find_baseline(workspace: Place, name: str | None) -> Dataset | None:
    """Find a complete data set to compare with, or return None without a name; reads only the manifest."""
    return None if name is None else find_dataset(workspace, name, load_dataset)
