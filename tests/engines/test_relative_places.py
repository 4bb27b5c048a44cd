"""Relative places, given to commands whose workers run in another folder."""

import pytest

from tests.engines.catalogue import EXTERNAL, JOB_SERVICE, PORTABLE, WORKER_POOL
from tests.engines.isolation import isolated
from tests.helpers import BACKBEAM, Digits

IN_FOLDER = ("sh", "-c", 'cd "$1" && shift && exec "$@"', "sh")
SLICES = "def parity(block):\n    return block.labels % 2\n"
STEPS = ("--num-steps", "20", "--config", "run.toml")


@pytest.mark.engines
def test_every_command_with_a_beam_job_takes_relative_places(tmp_path):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "slices").mkdir()
    (tmp_path / "slices" / "my_slices.py").write_text(SLICES)
    Digits().write(home / "digits")
    Digits(num_train=90).write(home / "others")
    (home / "run.toml").write_text("[training]\nbatch_size = 5\n")
    commands = [
        ("run", "digits", *STEPS),
        ("promote", "--force", "--why", "the first"),
        ("retrain", "others", *STEPS, "--slice", "parity=my_slices:parity"),
        ("evaluate", "latest", "--slice", "parity=my_slices:parity"),
        ("promote", "latest", "--config", "run.toml", "--force", "--why", "again"),
        ("verify",),
    ]
    on_workers = (*PORTABLE, *EXTERNAL)
    told = [
        [*IN_FOLDER, home, BACKBEAM, *command, "--workspace", "ws", *(on_workers if command[0] != "verify" else ())]
        for command in commands
    ]
    remove = ["sh", "-c", f"rm {home}/ws/runs/*/evaluation.json"]  # so that the next command evaluates
    told.insert(3, remove)
    servers = {"job": JOB_SERVICE, "pool": [*IN_FOLDER, str(elsewhere), *WORKER_POOL]}
    finished = isolated(told, servers, tmp_path, {"PYTHONPATH": str(tmp_path / "slices")})
    for command, done in zip(told, finished, strict=True):
        assert done.code == 0, (command, done.err)
    assert list(elsewhere.iterdir()) == []
