"""`reproduce --dataset` and `verify --repair --dataset` make data sets again whose sources moved, with all options."""

import shutil

import pytest

from tests.helpers import Digits, contents, run_in_process
from tests.pictures import write_tree
from tests.pipeline.sources.test_class_order import write_named_csv
from tests.pipeline.sources.test_held_out import write_idx_pair

pytestmark = pytest.mark.thorough

FRUIT = ("pear", "apple", "fig")
TRAINING = ("--layers", "36,6,3", "--num-steps", 20)


def write_one_split(folder):
    write_tree(folder)
    shutil.rmtree(folder / "test")
    for path in (folder / "train").iterdir():
        path.rename(folder / path.name)
    (folder / "train").rmdir()
    return folder


def write_named_tree(folder):
    write_tree(folder, Digits(width=5))
    for split in ("train", "test"):
        for label, name in enumerate(FRUIT):
            (folder / split / str(label)).rename(folder / split / name)
    return folder


def write_csv_file(folder):
    write_named_csv(folder, Digits(height=6, width=6))
    (folder / "test.csv").unlink()
    return folder / "train.csv"


def write_square_pair(folder):
    return write_idx_pair(folder, digits=Digits(height=6, width=6))


CASES = {
    "resized": ([write_tree], ("--resize", "6x6", "--resize-mode", "crop")),
    "one split of IDX files": ([write_square_pair], ("--test-share", 0.3)),
    "one split, resized": ([write_one_split], ("--resize", "6x6", "--test-share", 0.3)),
    "joined by name, one resized, one of one split": (
        [write_named_tree, write_csv_file],
        ("--resize", "6x6", "--test-share", 0.3),
    ),
}


def move(place, folder):
    folder.mkdir(exist_ok=True)
    return shutil.move(place, folder / f"moved-{place.name}")


@pytest.mark.parametrize("case", CASES)
def test_sources_that_moved_give_the_same_run_and_shards(case, tmp_path):
    writers, options = CASES[case]
    workspace = tmp_path / "ws"
    sources = [write(tmp_path / f"source{number}") for number, write in enumerate(writers)]
    given = [word for source in sources for word in ("--dataset", source)]
    done = run_in_process("run", "--workspace", workspace, *given, *options, *TRAINING)
    assert done.code == 0, done.err
    before = contents(workspace)
    moved = [word for source in sources for word in ("--dataset", move(source, tmp_path / "elsewhere"))]
    done = run_in_process("reproduce", "--workspace", workspace, "--json", *moved)
    assert done.code == 0, done.err
    assert done.json["equal"]
    for shard in workspace.glob("datasets/*/*.tfrecord"):
        shard.write_bytes(b"x")
    for command in (("reproduce", "--workspace", workspace), ("verify", workspace, "--repair")):
        gone = run_in_process(*command)
        assert (gone.code, "is not there any more" in gone.err) == (3, True)
    done = run_in_process("verify", workspace, "--repair", *moved)
    assert done.code == 0, done.err
    assert contents(workspace) == before
