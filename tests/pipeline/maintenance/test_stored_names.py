"""How `rm` finds what it is to delete."""

from pathlib import Path

import pytest

from model.errors import BadUsage
from pipeline.maintenance import stored_names
from pipeline.maintenance.stored_names import find_stored


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    for path in ("runs/modern-seed1-aa/run.json", "runs/modern-seed2-bb/run.json", "datasets/mnist-cc/manifest.json"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("{}")
    monkeypatch.setattr(stored_names, "find_named", lambda _, name: ["modern-seed2-bb"] if name == "wide" else [])
    return tmp_path


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("modern-seed1", "runs/modern-seed1-aa"),
        ("runs/modern-seed2-bb", "runs/modern-seed2-bb"),
        ("mnist", "datasets/mnist-cc"),
        ("wide", "runs/modern-seed2-bb"),
    ],
)
def test_a_run_or_data_set_is_found_as_elsewhere(workspace, wanted, found):
    assert find_stored(workspace, wanted) == found


def test_runs_and_data_sets_that_match_are_counted_as_several(workspace):
    with pytest.raises(BadUsage, match="'m' matches several runs or data sets in"):
        find_stored(workspace, "m")


def test_an_empty_name_does_not_find_the_only_data_set(tmp_path):
    (tmp_path / "datasets/mnist-cc").mkdir(parents=True)
    (tmp_path / "datasets/mnist-cc/manifest.json").write_text("{}")
    assert find_stored(tmp_path, "m") == "datasets/mnist-cc"
    with pytest.raises(BadUsage, match="the name of what to delete is empty"):
        find_stored(tmp_path, "")


@pytest.mark.parametrize("wanted", ["m", "modern", "other", "../runs/modern-seed1-aa"])
def test_several_or_none_are_listed(workspace, wanted):
    with pytest.raises(BadUsage, match="name one of:\n  runs/modern-seed1-aa"):
        find_stored(workspace, wanted)
