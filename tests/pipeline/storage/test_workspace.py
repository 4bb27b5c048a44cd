"""Folders of the user: the home folder in names, and the cache."""

from pathlib import Path

import pytest

from model.errors import BadInput, BadUsage
from pipeline.cli.config import read_tables
from pipeline.cli.options import local_folder
from pipeline.preprocess.provenance import make_absolute
from pipeline.sources.source_lookup import find_source
from pipeline.storage.lock import lock_workspace
from pipeline.storage.places import place_of
from pipeline.storage.workspace import default_cache
from tests.pictures import write_tree


def test_home_folder_and_file_uris_are_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.toml").write_bytes(b"\xef\xbb\xbf[training]\nseed = 3\n")
    for name in ("~/x", f"file://{tmp_path}/x", f"file://localhost{tmp_path}/%78"):
        assert place_of(name) == tmp_path / "x"
        assert make_absolute(name) == str(tmp_path / "x")
        assert local_folder(name) == tmp_path / "x"
    assert place_of("./~/x") == Path("~/x")
    assert read_tables(Path("~/x.toml")) == {"training": {"seed": 3}}  # also after the mark that editors put first
    with pytest.raises(BadUsage, match="file://host/x: expected a file of this machine"):
        place_of("file://host/x")
    with pytest.raises(BadUsage, match="~nobody-of-this-name/x: no home folder is known"):
        place_of("~nobody-of-this-name/x")


def test_cache_needs_a_home_folder_only_when_it_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr("pooch.os_cache", lambda name: Path("~/.cache") / name)  # as without HOME
    monkeypatch.delenv("BACKBEAM_CACHE_DIR", raising=False)
    assert find_source("mnist-5k", None, None).name == "mnist-5k"
    for use_cache in (default_cache, lambda: find_source("kmnist", None, None)):
        with pytest.raises(BadUsage, match="HOME is not set: set BACKBEAM_CACHE_DIR"):
            use_cache()
    monkeypatch.setenv("BACKBEAM_CACHE_DIR", str(tmp_path))
    assert default_cache() == tmp_path


def test_folder_of_a_known_name_is_mentioned(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    find_source("mnist-5k", None, None)
    assert capsys.readouterr().err == ""
    write_tree(tmp_path / "mnist-5k")
    assert find_source("mnist-5k", None, None).files[0].is_file()
    assert "not the folder that is here; ./mnist-5k means that" in capsys.readouterr().err
    assert find_source("./mnist-5k", None, None).folder == tmp_path / "mnist-5k"


@pytest.mark.parametrize("made", ["nothing", "folder", "file"])
def test_failed_command_leaves_no_empty_workspace(made, tmp_path):
    def fail(folder):
        with lock_workspace(folder):
            if made != "nothing":
                (folder / "datasets").mkdir(exist_ok=True)
            if made == "file":
                (folder / "datasets" / "x").touch()
            raise BadInput("x")

    with pytest.raises(BadInput):
        fail(tmp_path / "new" / "ws")
    assert (tmp_path / "new" / "ws").exists() == (made == "file")
    (tmp_path / "old").mkdir()
    with pytest.raises(BadInput):
        fail(tmp_path / "old")
    assert (tmp_path / "old").exists()
