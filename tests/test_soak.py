"""Retraining without end, while another process reads all that readers may look at, and never sees half of it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.registry.history import load_history
from tests.helpers import Digits, backbeam

NUM_ROUNDS = 12
READER = Path(__file__).with_name("soak_reader.py")


@contextmanager
def watched(workspace: Path) -> Iterator[dict[str, int]]:
    """Have a process read the workspace all the time; what it counted is there at the end, and it found nothing."""
    counts: dict[str, int] = {}
    with subprocess.Popen([sys.executable, READER, workspace], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        try:
            yield counts
        finally:
            printed, _ = reader.communicate(timeout=120)  # closes its input, which tells it to end
    found = json.loads(printed)
    assert found.pop("problems") == []
    counts |= found


def command(name: str, workspace: Path, *arguments: object) -> dict:
    done = backbeam(name, *arguments, "--workspace", workspace, "--json")
    assert done.code == 0, done.err
    return done.json


@pytest.mark.slow
def test_readers_never_see_half_a_state(tmp_path):
    source, workspace = Digits(num_train=300, num_test=300).write(tmp_path / "digits"), tmp_path / "ws"
    config = tmp_path / "backbeam.toml"
    config.write_text(
        '[promotion]\nminimum_gain = -1.0\nsignificance = 1.0\nlargest_class_loss = 1.0\nreference = "none"\n'
    )
    options = ("--dataset", source, "--config", config, "--quiet")
    with watched(workspace) as counts:
        outcomes = [
            command("retrain", workspace, *options, "--num-steps", 40 + number, "--warm-start")["outcome"]
            for number in range(NUM_ROUNDS)
        ]
        command("report", workspace, "champion")
        first = load_history(workspace)[0].run_id
        command("rollback", workspace, "--why", "half way")
        command("promote", workspace, first, "--force", "--why", "back to the beginning")
        command("report", workspace, first)
        command("report", workspace, first)
        assert command("verify", workspace)["sound"]
    assert outcomes == ["promoted"] * NUM_ROUNDS
    assert len(load_history(workspace)) == NUM_ROUNDS + 2
    assert counts["champions_seen"] > NUM_ROUNDS / 2  # reading is quicker than retraining
    assert counts["rounds"] > 10 * NUM_ROUNDS
    assert counts["pages_seen"] >= 2
