"""Workers of a job that writes to a store, killed in the middle of an upload."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.emulators import SECRET, wire
from tests.helpers import BACKBEAM, Digits

pytestmark = pytest.mark.slow


def descendants(process_id):
    for tasks in Path(f"/proc/{process_id}/task").glob("*/children"):
        for child in map(int, tasks.read_text().split()):
            yield from [*descendants(child), child]


def test_killed_workers_leave_nothing_in_the_store_and_no_secret_in_the_log(store, tmp_path):
    digits = Digits(num_train=600, num_test=200).write(tmp_path / "digits")
    with wire(store, b"tfrecord", 1, "silent") as broken:
        command = [BACKBEAM, "preprocess", digits, "--num-shards", "3", "--workers", "2"]
        environment = store.reached_by(broken.address) | {"BACKBEAM_CACHE_DIR": str(tmp_path / "cache")}
        command += ["--workspace", store.uri(tmp_path.name)]
        with subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE) as process:
            assert broken.broken.wait(60)
            for worker in descendants(process.pid):
                os.kill(worker, signal.SIGKILL)
            _, stderr = process.communicate(timeout=120)
    assert process.returncode == 7, stderr
    [log] = (tmp_path / "cache").rglob("engine.log")
    assert str(log).encode() in stderr
    assert SECRET.encode() not in log.read_bytes() + stderr
    assert [name for name in store.visible(tmp_path.name) if name.startswith("datasets/")] == []
