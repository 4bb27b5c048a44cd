"""The table of a data set's rejected examples, and the errors if there are too many. Runs without Beam."""

from collections.abc import Sequence

import pyarrow as pa

from model.errors import BadInput, EngineFailed
from pipeline.preprocess.dataset import load_dataset
from pipeline.preprocess.manifest import MANIFEST_NAME
from pipeline.sources.blocks import RejectedExample
from pipeline.sources.image_blocks import WRONG_SIZE
from pipeline.storage.places import Place
from pipeline.storage.records import FileInfo
from pipeline.storage.tables import REJECTED_SCHEMA, read_table, write_table

REJECTED_NAME = "rejected.parquet"
SHOWN_REJECTED = 10  # rejected examples that the error of a failed job names


def write_rejected(folder: Place, rejected: Sequence[RejectedExample]) -> FileInfo:
    """Write the table of rejected examples."""
    rows = [vars(example) for example in rejected]
    return write_table(folder / REJECTED_NAME, pa.Table.from_pylist(rows, REJECTED_SCHEMA))


def check_outcome(folder: Place, max_rejected: int) -> None:
    """Check what a job that the engine reports as successful has written: a manifest, or a table of rejected examples.

    Raises BadInput if more examples are rejected or all of a split, EngineFailed if there is neither file.
    """
    if (folder / MANIFEST_NAME).exists():
        _check_no_split_is_empty(folder)
        return
    path = folder / REJECTED_NAME
    if not path.exists():
        raise EngineFailed(f"the engine reports success but wrote no manifest to {folder}")
    rows = read_table(path).to_pylist()
    listed = "\n".join("  {file} (split {split}), example {index}: {reason}".format(**row) for row in rows)
    scaling = "To scale pictures to one size, give --resize HxW. " if WRONG_SIZE in listed else ""
    raise BadInput(
        f"more than {max_rejected} examples are rejected, the first of them:\n{listed}\n"
        f"{scaling}Mend the source, or accept up to N such examples with --max-rejected N: {REJECTED_NAME} then lists "
        "them all."
    )


def _check_no_split_is_empty(folder: Place) -> None:
    for name, split in load_dataset(folder).manifest.splits.items():
        if not split.num_examples:
            path = folder / REJECTED_NAME
            rows = read_table(path).to_pylist() if path.exists() else []
            first = next((row for row in rows if row["split"] == name), None)
            if first is None:  # only a split that is held out has no examples although none is rejected
                change = "larger" if name == "test" else "smaller"
                raise BadInput(f"no example fell into the {name} split: give a {change} --test-share")
            raise BadInput(
                f"every example of the {name} split is rejected, the first because: {first['reason']} "
                f"({first['file']}, example {first['index']})"
            )
