"""Symbolic links in a workspace are rejected: no command reads, writes or deletes through one."""

import os
from pathlib import Path

import pytest

from tests.damage import KINDS, find
from tests.helpers import backbeam, contents, run_in_process

COMMANDS = {
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
LINKED = {
    "a shard": KINDS["shard"],
    "parameters": KINDS["parameters"],
    "a table": KINDS["evaluation table"],
    "a record": KINDS["run"],
    "a folder of a run": "runs/*seed1*",
    "a folder of a table": "reports/predictions",
    "all data sets": "datasets",
}


def move_out(workspace: Path, pattern: str) -> Path:
    [path] = workspace.glob(pattern)
    outside = workspace.parent / "outside" / path.name
    outside.parent.mkdir()
    path.rename(outside)
    path.symlink_to(outside)
    return path


def is_rejected(done, link) -> bool:
    message = f"{link}: expected a plain file"
    return done.code == 4 and not done.out and message in done.err


@pytest.mark.parametrize("target", LINKED)
def test_verify_rejects_links_and_changes_nothing_outside(target, folder):
    link = move_out(folder / "ws", LINKED[target])
    before = contents(folder)
    for command in (("verify", "--workspace", "ws"), ("verify", "--repair", "--workspace", "ws")):
        assert is_rejected(run_in_process(*command), link.relative_to(folder))
    assert contents(folder) == before


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_rejects_links(name, folder):
    link = move_out(folder / "ws", LINKED["parameters"])
    before = contents(folder)
    assert is_rejected(run_in_process(*COMMANDS[name], "--workspace", "ws"), link.relative_to(folder))
    assert contents(folder) == before


def test_repair_writes_nothing_through_a_link(folder):
    """The folder of a data set is a link, and repair would replace the damaged shard in it."""
    link = move_out(folder / "ws", "datasets/digits-*")
    shard = link / "train-00001-of-00003.tfrecord"
    shard.write_bytes(b"")
    before = contents(folder)
    assert is_rejected(run_in_process("verify", "--repair", link.relative_to(folder)), link.relative_to(folder))
    assert contents(folder) == before


@pytest.mark.parametrize("name", [".temporary", ".repair", ".lock", ".lock-holder.json", "engine.log", "reports"])
def test_links_with_names_of_new_files_are_rejected(name, tmp_path):
    workspace = tmp_path / "ws"
    outside = tmp_path / "outside"
    workspace.mkdir()
    outside.mkdir()
    (outside / "kept").write_bytes(b"kept")
    (workspace / name).symlink_to(outside / "kept" if "." in name[1:] or name == ".lock" else outside)
    before = contents(outside)
    assert is_rejected(run_in_process("run", "--workspace", workspace), workspace / name)
    assert contents(outside) == before


def test_a_pipe_in_place_of_a_record_is_rejected(folder):
    path = find(folder / "ws", "run")
    path.unlink()
    os.mkfifo(path)
    assert is_rejected(backbeam("runs", "--workspace", "ws", timeout=60), path.relative_to(folder))


def test_links_to_the_workspace_to_sources_and_of_unknown_names_are_allowed(folder):
    (folder / "elsewhere").symlink_to("ws")
    (folder / "ws" / "notes").symlink_to("/")
    (folder / "sources").symlink_to("digits")
    assert run_in_process("verify", "--workspace", "elsewhere").code == 0
    done = run_in_process("preprocess", "--workspace", "more", "--dataset", "sources", "--num-classes", 8)
    assert done.code == 0, done.err
