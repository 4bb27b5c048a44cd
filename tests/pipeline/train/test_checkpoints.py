"""Which checkpoint files of a run are kept, and which are used."""

import pytest

from model.errors import CorruptArtefact
from model.fitting import Standing
from model.lockstep import begin
from model.recipes import RECIPES, fit_to_data, override
from pipeline.storage.files import digest_of
from pipeline.train.checkpoints import Snapshot, find_newest_checkpoint, remove_unusable_files, write_checkpoint
from tests.damage import damage

CONFIG = fit_to_data(RECIPES["article-manual"].config, 20, 3, 60)
OTHER = override(CONFIG, seed=2)


@pytest.fixture
def folder(tmp_path):
    """The folder of a run with checkpoints of the steps 10 and 20."""
    write(tmp_path / "run", 10, 20)
    return tmp_path / "run"


def write(folder, *steps, keep=2, config=CONFIG):
    for step in steps:
        write_checkpoint(folder, config, (), keep, Snapshot(Standing(step, begin(config))))


def files(folder):
    return sorted((folder / "checkpoints").iterdir())


def steps_in(folder):
    return [int(path.name.split("-")[1]) for path in files(folder)]


@pytest.mark.parametrize(("keep", "kept"), [(1, [50]), (3, [30, 40, 50])])
def test_newest_checkpoints_are_kept(keep, kept, folder):
    write(folder, 30, 40, 50, keep=keep)
    assert steps_in(folder) == kept


@pytest.mark.parametrize("how", ["flip a bit", "cut a byte", "extend", "empty", "delete"])
def test_previous_checkpoint_is_found_if_the_newest_is_damaged(how, folder):
    newest = files(folder)[-1]
    damage(newest, how)
    saved = find_newest_checkpoint(folder, CONFIG)
    assert saved.record.step == 10
    assert saved.corrupt == (() if how == "delete" else (newest,))


def test_corrupt_checkpoint_does_not_count_as_kept(folder):
    damage(files(folder)[-1], "flip a bit")
    remove_unusable_files(folder, find_newest_checkpoint(folder, CONFIG))
    write(folder, 30)
    assert steps_in(folder) == [10, 30]


def test_checkpoints_with_swapped_names_are_rejected(folder):
    first, second = files(folder)
    second.rename(folder / "second")
    first.rename(second)
    (folder / "second").rename(first)
    with pytest.raises(CorruptArtefact, match=rf"{second}, {first}"):
        find_newest_checkpoint(folder, CONFIG)


def test_checkpoint_named_for_another_step_is_rejected(folder, capfd):
    newest = files(folder)[-1]
    newest.rename(newest.with_name(f"step-{90:010d}-{digest_of(newest.read_bytes())}.safetensors"))
    assert find_newest_checkpoint(folder, CONFIG).record.step == 10
    assert "is corrupt: it is of step 20" in capfd.readouterr().err


def test_checkpoint_of_another_run_is_rejected(folder, capfd):
    """It verifies and has the same shapes, but is of another seed."""
    write(folder.with_name("other"), 30, config=OTHER)
    [other] = files(folder.with_name("other"))
    other.rename(folder / "checkpoints" / other.name)
    assert find_newest_checkpoint(folder, CONFIG).record.step == 20
    assert "is of the run other, expected run" in capfd.readouterr().err
    write(folder, 40, keep=3, config=OTHER)  # by the same name of the run
    assert find_newest_checkpoint(folder, CONFIG).record.step == 20
