"""Relative places, given to commands whose workers run in another folder."""

import pytest

from tests.engines.catalogue import EXTERNAL, JOB_SERVICE, PORTABLE, WORKER_POOL
from tests.engines.isolation import isolated
from tests.helpers import BACKBEAM, Digits

IN_FOLDER = ("sh", "-c", 'cd "$1" && shift && exec "$@"', "sh")
SLICES = "def parity(block):\n    return block.labels % 2\n"
STEPS = ("--num-steps", "20", "--config", "run.toml")


def _build_commands(folder, *commands):
    place = ("--workspace", "ws", *PORTABLE, *EXTERNAL)
    return [[*IN_FOLDER, folder, BACKBEAM, *command, *place] for command in commands]


@pytest.mark.engines
def test_every_command_with_a_beam_job_takes_relative_places(tmp_path):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "slices").mkdir()
    (tmp_path / "slices" / "my_slices.py").write_text(SLICES)
    Digits().write(home / "digits")
    Digits(num_train=90).write(home / "others")
    (home / "run.toml").write_text("[training]\nbatch_size = 5\n")
    slicing = ("--slice", "parity=my_slices:parity")
    again = f"rm {home}/ws/runs/*/evaluation.json {home}/ws/datasets/*/validation.json"  # so that this is done again
    told = [
        *_build_commands(home, ("run", "digits", *STEPS, *slicing)),
        ["sh", "-c", again],
        *_build_commands(
            home, ("validate",), ("verify",), ("evaluate", *slicing), ("promote", "--force", "--why", "it is the first")
        ),
        *_build_commands(home, ("retrain", "others", *STEPS)),
    ]
    servers = {"job": JOB_SERVICE, "pool": [*IN_FOLDER, str(elsewhere), *WORKER_POOL]}
    finished = isolated(told, servers, tmp_path, {"PYTHONPATH": str(tmp_path / "slices")}, timeout=900)
    for command, done in zip(told, finished, strict=True):
        assert done.code == 0, (command, done.err)
    assert list(elsewhere.iterdir()) == []
