"""Data sets whose sources have moved are made again by the content of the sources, whatever their names."""

import shutil

import pytest

from model.errors import BadInput, BadUsage
from pipeline.context import StageContext, StageLog
from pipeline.maintenance.rebuild import rebuild_dataset
from pipeline.maintenance.repair import failure_of, repair
from pipeline.maintenance.verify import find_scope
from pipeline.preprocess.stage import DatasetConfig, preprocess_stage
from pipeline.sources import scan_tasks
from pipeline.sources.catalog import PictureOptions
from tests.helpers import Digits, contents
from tests.pictures import write_tree
from tests.small_tasks import WRITERS


def build(workspace, *sources):
    names = tuple(map(str, sources))
    config = DatasetConfig(names, None, workspace / "cache", None, None, 1, 0, PictureOptions())
    return preprocess_stage(StageContext(workspace, ()), config, StageLog())


def test_a_source_is_compared_by_content_and_not_by_name(tmp_path):
    first = write_tree(tmp_path / "digits")
    second = write_tree(tmp_path / "more", Digits(seed=4))
    joint = build(tmp_path / "ws", first, second)
    moved = [str(shutil.move(place, tmp_path / f"{place.name}-moved")) for place in (first, second)]
    with pytest.raises(BadInput, match=rf"{first}, of which .* is not there any more: .*--dataset PLACE"):
        rebuild_dataset(tmp_path / "ws", joint.folder.name, tmp_path / "scratch")
    rebuilt = rebuild_dataset(tmp_path / "ws", joint.folder.name, tmp_path / "scratch", tuple(moved))
    assert (rebuilt.folder.name, rebuilt.digest) == (joint.folder.name, joint.digest)
    with pytest.raises(BadUsage, match=r"--dataset is given 1 times, and .* has 2 sources"):
        rebuild_dataset(tmp_path / "ws", joint.folder.name, tmp_path / "other", tuple(moved[:1]))
    changed = write_tree(tmp_path / "third" / "digits", Digits(seed=5))
    with pytest.raises(BadInput, match=rf"{changed}, {moved[1]} is no longer what"):
        rebuild_dataset(tmp_path / "ws", joint.folder.name, tmp_path / "other", (str(changed), moved[1]))


def test_repair_finds_moved_sources_by_their_content(tmp_path):
    sources = [write_tree(tmp_path / f"digits{seed}", Digits(seed=seed)) for seed in (1, 2)]
    for source in sources:
        build(tmp_path / "ws", source)
    before = contents(tmp_path / "ws")
    for shard in tmp_path.glob("ws/datasets/*/train-*"):
        shard.write_bytes(b"x")
    moved = tuple(str(shutil.move(source, tmp_path / f"moved{number}")) for number, source in enumerate(sources))
    refused = failure_of(repair(find_scope(tmp_path / "ws"), {}))
    assert isinstance(refused, BadInput)
    assert str(refused).count("is not there any more") == 2
    assert failure_of(repair(find_scope(tmp_path / "ws"), {}, moved[::-1])) is None
    assert contents(tmp_path / "ws") == before


@pytest.mark.parametrize("layout", ["idx", "rows", "lines", "records"])
@pytest.mark.thorough
def test_a_large_data_set_that_was_identified_without_pieces_is_made_again(layout, tmp_path, monkeypatch):
    source = WRITERS[layout](tmp_path / "digits")
    earlier = build(tmp_path / "ws", source)
    for name, value in (("PIECE_EXAMPLES", 8), ("WHOLE_EXAMPLES", 32), ("PIECE_BYTES", 400), ("WHOLE_BYTES", 1600)):
        monkeypatch.setattr(scan_tasks, name, value)
    later = build(tmp_path / "later", source)
    assert later.folder.name != earlier.folder.name
    rebuilt = rebuild_dataset(tmp_path / "ws", earlier.folder.name, tmp_path / "scratch")
    assert (rebuilt.folder.name, rebuilt.digest) == (earlier.folder.name, earlier.digest)
    rebuilt = rebuild_dataset(tmp_path / "later", later.folder.name, tmp_path / "scratch")
    assert rebuilt.digest == later.digest
