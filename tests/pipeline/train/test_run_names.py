"""Names of runs: those allowed, and those of complete runs, which a command with another name replaces."""

import shutil

import pytest

from model.errors import BadUsage, CorruptArtefact
from model.recipes import RECIPES
from pipeline.context import StageContext, StageLog
from pipeline.preprocess.dataset import find_dataset
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.run_names import check_name, find_named, name_runs
from pipeline.train.run_record import load_run
from pipeline.train.stage import train_stage


@pytest.fixture
def workspace(seeds_run, tmp_path):
    return shutil.copytree(seeds_run, tmp_path / "ws")


def train_again(workspace, seed, name):
    """Train a complete run under a name; return its record."""
    [folder] = workspace.glob(f"runs/*seed{seed}-*")
    config = load_run(folder).config
    context = StageContext(workspace, ())
    [run] = train_stage(
        context, find_dataset(workspace, None), [config], False, CheckpointPolicy(), StageLog(), (name,)
    )
    assert run == load_run(folder)
    return run


@pytest.mark.parametrize("name", ["wide", "modern-wide", "2026-11-27", "A.b_c", "x" * 64])
def test_name_is_allowed(name):
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "-x", ".", "../x", "a b", "a/b", "wide\n", "ü", "x" * 65])
def test_name_with_other_characters_is_refused(name):
    with pytest.raises(BadUsage, match="expected at most 64 letters"):
        check_name(name)


@pytest.mark.parametrize("name", ["latest", "BEST", "champion", "none", "a", "modern", "nielsen-30-manual-seed7", "n"])
def test_name_that_stands_for_another_run_is_refused(name):
    with pytest.raises(BadUsage, match="give another name"):
        check_name(name)


def test_each_seed_has_a_name():
    configs = [RECIPES["modern"].config.model_copy(update={"seed": seed}) for seed in (3, 4)]
    assert name_runs("wide", configs, by_seed=True) == ("wide-3", "wide-4")
    assert name_runs("wide", configs[:1], by_seed=False) == ("wide",)
    assert name_runs(None, configs, by_seed=True) == ()


def test_complete_run_is_named_and_renamed(workspace, capsys):
    before = load_run(next(workspace.glob("runs/*seed1-*")))
    assert b'"name": null' not in before.to_json()
    named = train_again(workspace, 1, "first")
    assert named == before.model_copy(update={"name": "first"})
    assert train_again(workspace, 1, "other").name == "other"
    assert "is named other now, no longer first" in capsys.readouterr().err
    assert (find_named(workspace, "first"), find_named(workspace, "other")) == ([], [before.run_id])


def test_name_of_another_run_is_refused(workspace):
    first = train_again(workspace, 1, "wide")
    with pytest.raises(BadUsage, match=f"--name wide: {first.run_id} has this name"):
        train_again(workspace, 2, "wide")
    assert train_again(workspace, 1, "wide") == first


def test_name_is_not_looked_for_in_a_corrupt_record(workspace):
    run = train_again(workspace, 1, "wide")
    next(workspace.glob("runs/*seed2-*/run.json")).write_bytes(b"{}")
    assert find_named(workspace, "wide") == [run.run_id]
    with pytest.raises(CorruptArtefact):
        find_named(workspace, "narrow")
