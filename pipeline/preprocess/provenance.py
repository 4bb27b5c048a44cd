"""Where a data set came from: what was asked of `preprocess`, so that it can be asked again.

The record lies at origins/DATASET_ID.json of the workspace and not in the data set's folder, which is a function of the
sources' content alone: the same data from another place are the same files.
"""

from pathlib import Path
from typing import Literal

from model.errors import CorruptArtefact
from pipeline.sources.catalog import KNOWN
from pipeline.storage.commit import commit_file
from pipeline.storage.files import size_or_none, write_atomically
from pipeline.storage.places import Place, is_remote
from pipeline.storage.records import Count, FileName, Record


class Origin(Record):
    """What was asked of `preprocess` for a data set.

    Attributes:
        dataset_id: the data set.
        datasets: its sources: known names, absolute paths, URIs; of a joint data set, those of every part in order.
        data_dir: where the files of the known one were, if they were named.
        num_classes: as asked for.
        num_shards: as asked for.
        shuffle_seed: of the order.
        max_rejected: how many unusable examples were left out.
        image_column: of Parquet files, as asked for.
        label_column: of Parquet files, as asked for.
        image_size: height and width of pictures, as asked for.
    """

    format_version: Literal[1] = 1
    dataset_id: FileName
    datasets: tuple[str, ...]
    data_dir: str | None
    num_classes: Count | None
    num_shards: Count | None
    shuffle_seed: Count
    max_rejected: Count
    image_column: str | None
    label_column: str | None
    image_size: tuple[int, int] | None


def origin_path(workspace: Place, dataset_id: str) -> Place:
    """Return the place of a data set's record of its origin."""
    return workspace / "origins" / f"{dataset_id}.json"


def load_origin(workspace: Place, dataset_id: str) -> Origin:
    """Read where a data set came from; raises CorruptArtefact if the record is not sound or of another data set."""
    path = origin_path(workspace, dataset_id)
    if size_or_none(path) is None:
        raise CorruptArtefact(
            f"{path} is missing, so nothing says where {dataset_id} came from: `backbeam preprocess` with the options "
            "that made it writes it again"
        )
    origin = Origin.load(path)
    if origin.dataset_id != dataset_id:
        raise CorruptArtefact(f"{path} is the origin of {origin.dataset_id}, expected {dataset_id}")
    return origin


def options_given(origin: Origin) -> list[str]:
    """Return the options of the command line that ask for the data set again."""
    size = origin.image_size and "x".join(map(str, origin.image_size))
    given = {
        "--data-dir": origin.data_dir,
        "--num-classes": origin.num_classes,
        "--num-shards": origin.num_shards,
        "--shuffle-seed": origin.shuffle_seed,
        "--max-rejected": origin.max_rejected or None,
        "--image-column": origin.image_column,
        "--label-column": origin.label_column,
        "--image-size": size,
    }
    sources = [word for source in origin.datasets for word in ("--dataset", source)]
    return [*sources, *(word for name, value in given.items() if value is not None for word in (name, str(value)))]


def write_origin(workspace: Place, origin: Origin) -> None:
    """Write where a data set came from, unless that is what stands there."""
    path, data = origin_path(workspace, origin.dataset_id), origin.to_json()
    if size_or_none(path) is None:
        commit_file(path, data)
    elif path.read_bytes() != data:
        write_atomically(path, data)


def absolute(source: str) -> str:
    """Return what names a source from any folder: paths absolute, known names and URIs as they are."""
    if source in KNOWN:
        return source
    names = source.split(",") if source.endswith(".parquet") else [source]
    return ",".join(name if is_remote(name) else str(Path(name).absolute()) for name in names)
