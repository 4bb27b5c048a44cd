"""Links in a workspace, by the real commands: nothing is read, written or deleted through one."""

import os
from pathlib import Path

import pytest

from tests.damage import KINDS, find
from tests.helpers import backbeam, contents

COMMANDS = {
    "verify": ("verify",),
    "repair": ("verify", "--repair"),
    "run": ("run", "--seed", 9),
    "train": ("train", "--num-steps", 30),
    "evaluate": ("evaluate", "seed1"),
    "validate": ("validate",),
    "report": ("report",),
    "predict": ("predict", "digits/train-images-idx3-ubyte", "--run", "article-manual-seed1"),
    "export": ("export", "article-manual-seed1", "--to", "out"),
    "show": ("show", "article-manual-seed1"),
    "compare": ("compare", "article-manual-seed1", "article-manual-seed2"),
    "runs": ("runs",),
    "inspect": ("inspect",),
    "reproduce": ("reproduce", "article-manual-seed1"),
}
PLACES = {
    "a shard": KINDS["shard"],
    "parameters": KINDS["parameters"],
    "a table": KINDS["evaluation table"],
    "a record": KINDS["run"],
    "a folder of a run": "runs/*seed1*",
    "a folder of a table": "reports/predictions",
    "all data sets": "datasets",
}


def move_out(workspace: Path, pattern: str) -> Path:
    """Put something outside, and a link to it in its place."""
    [path] = workspace.glob(pattern)
    outside = workspace.parent / "outside" / path.name
    outside.parent.mkdir()
    path.rename(outside)
    path.symlink_to(outside)
    return path


def refused(done, link) -> bool:
    return (
        done.code == 4 and not done.out and f"{link}: expected a plain file" in done.err and "Traceback" not in done.err
    )


@pytest.mark.parametrize("what", PLACES)
def test_what_is_outside_is_neither_trusted_nor_touched(what, place):
    link = move_out(place / "ws", PLACES[what])
    before = contents(place)
    for command in (("verify", "--workspace", "ws"), ("verify", "--repair", "--workspace", "ws")):
        assert refused(backbeam(*command), link.relative_to(place))
    assert contents(place) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses(name, place):
    link = move_out(place / "ws", PLACES["parameters"])
    before = contents(place)
    assert refused(backbeam(*COMMANDS[name], "--workspace", "ws"), link.relative_to(place))
    assert contents(place) == before


def test_repair_deletes_nothing_through_a_link(place):
    """A data set whose folder leads outside, with damage that repair would mend by writing there."""
    link = move_out(place / "ws", "datasets/digits-*")
    shard = link / "train-00001-of-00003.tfrecord"
    shard.write_bytes(b"")
    before = contents(place)
    assert refused(backbeam("verify", "--repair", link.relative_to(place)), link.relative_to(place))
    assert contents(place) == before


@pytest.mark.parametrize("name", [".temporary", ".repair", ".lock", ".lock-holder.json", "engine.log", "reports"])
def test_what_a_command_would_make(name, tmp_path):
    workspace, outside = tmp_path / "ws", tmp_path / "outside"
    workspace.mkdir()
    outside.mkdir()
    (outside / "kept").write_bytes(b"kept")
    (workspace / name).symlink_to(outside / "kept" if "." in name[1:] or name == ".lock" else outside)
    before = contents(outside)
    assert refused(backbeam("run", "--workspace", workspace), workspace / name)
    assert contents(outside) == before


def test_a_pipe_for_a_record_does_not_hang(place):
    path = find(place / "ws", "run")
    path.unlink()
    os.mkfifo(path)
    assert refused(backbeam("runs", "--workspace", "ws", timeout=60), path.relative_to(place))


def test_the_root_may_be_a_link_and_so_may_sources_and_what_is_not_ours(place):
    (place / "elsewhere").symlink_to("ws")
    (place / "ws" / "notes").symlink_to("/")
    (place / "sources").symlink_to("digits")
    assert backbeam("verify", "--workspace", "elsewhere").code == 0
    done = backbeam("preprocess", "--workspace", "more", "--dataset", "sources", "--num-classes", 8)
    assert done.code == 0, done.err
