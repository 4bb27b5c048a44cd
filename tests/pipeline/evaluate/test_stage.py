from types import SimpleNamespace

import pytest

from model.errors import BadInput
from pipeline.evaluate.stage import check_table_sizes


def manifest(*num_examples: int, num_classes: int = 3) -> SimpleNamespace:
    """Stand in for the manifest of a data set with test shards of these sizes."""
    shards = [SimpleNamespace(name=f"shard-{number}", num_examples=size) for number, size in enumerate(num_examples)]
    splits = {"test": SimpleNamespace(shards=shards), "train": SimpleNamespace(shards=[])}
    names = tuple(map(str, range(num_classes)))
    return SimpleNamespace(class_names=names, splits=splits, id_of=lambda shard: "digits-1")


def test_shard_whose_outputs_exceed_the_size_of_a_table_is_rejected(monkeypatch):
    """A row has three outputs of four bytes."""
    monkeypatch.setattr("pipeline.storage.tables.MAX_TABLE_BYTES", 12 * 10)
    check_table_sizes(manifest(10, 0))
    with pytest.raises(BadInput, match=r"^predictions of digits-1/shard-1 would have 11 rows .*larger --num-shards$"):
        check_table_sizes(manifest(10, 11))


def test_more_classes_than_a_confusion_table_can_hold_are_rejected(monkeypatch):
    monkeypatch.setattr("pipeline.storage.tables.MAX_ROWS", 2 * 3 * 3)
    check_table_sizes(manifest(1))
    with pytest.raises(BadInput, match=r"^confusion would have 32 rows .*, at most 18 .*: 4 classes are too many"):
        check_table_sizes(manifest(1, num_classes=4))
