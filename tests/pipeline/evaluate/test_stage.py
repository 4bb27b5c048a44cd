import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from model.errors import BadInput, CorruptArtefact
from pipeline.context import StageContext, StageLog
from pipeline.evaluate import stage
from pipeline.evaluate.slices import SLICINGS
from pipeline.evaluate.stage import check_table_sizes, evaluate_stage
from pipeline.sources.scan_tasks import map_here
from pipeline.train.run_lookup import find_run
from tests.small_tasks import Workers


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


def test_workers_check_the_files_of_a_large_evaluation(digits_run, small_tasks, tmp_path, monkeypatch):
    workspace = shutil.copytree(digits_run, tmp_path / "ws")
    workers = Workers()
    monkeypatch.setattr(stage, "open_task_runner", lambda context, name: nullcontext(workers))
    run, data = find_run(workspace, None)
    [record] = evaluate_stage(StageContext(workspace, ()), data, [run], SLICINGS, StageLog())
    assert workers.num_tasks == len(record.tables) > 6
    [damaged] = workspace.glob("reports/predictions/*/train-*.parquet")
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    messages = []
    for map_tasks in (workers, map_here):
        monkeypatch.setattr(stage, "open_task_runner", lambda *_, chosen=map_tasks: nullcontext(chosen))
        with pytest.raises(CorruptArtefact, match=r"train-.*parquet is corrupt") as raised:
            evaluate_stage(StageContext(workspace, ()), data, [run], SLICINGS, StageLog())
        messages.append(str(raised.value))
    assert messages[0] == messages[1]
