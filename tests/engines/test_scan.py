"""The scan of sources that are cut into tasks, by the real command on a job service with two workers."""

import re
import sys

import pytest

from tests.engines.catalogue import CHILDREN, EXTERNAL, PORTABLE, SERVERS
from tests.engines.isolation import isolated
from tests.engines.stages import PROBE
from tests.helpers import Digits, contents, without_time_made
from tests.small_tasks import WRITERS

COMMAND = (sys.executable, "-m", "tests.small_tasks", "preprocess", "--num-shards", "3")
TWO_WORKERS = (*PORTABLE, *EXTERNAL)
POOL = {"job": [sys.executable, "-m", "tests.engines.two_workers", "--port", "{port}"], "pool": SERVERS["pool"]}


@pytest.mark.engines
def test_sources_are_scanned_to_the_same_bytes(tmp_path):
    places = [WRITERS[layout](tmp_path / layout) for layout in ("idx", "rows", "tree", "lines", "records")]
    commands = []
    for name, engine in (("one", ()), ("two", TWO_WORKERS)):
        commands += [[*COMMAND, place, "--workspace", tmp_path / name, *engine] for place in places]
    for done in isolated(commands, POOL, tmp_path, timeout=900):
        assert done.code == 0, done.err
    assert without_time_made(contents(tmp_path / "one")) == without_time_made(contents(tmp_path / "two"))


@pytest.mark.engines
def test_damage_is_reported_in_the_same_words(tmp_path):
    folder = Digits().write(tmp_path / "digits")
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes() + b"more")
    commands = [
        [*COMMAND, folder, "--workspace", tmp_path / name, *engine]
        for name, engine in (("one", ()), ("two", TWO_WORKERS))
    ]
    writes = tmp_path / "writes"
    one, two = isolated(commands, POOL, tmp_path, {"PYTHONPATH": PROBE, "BACKBEAM_PROBE_WRITES": str(writes)})
    assert one.code == two.code == 3
    assert "trailing bytes" in one.err
    assert two.err.splitlines()[-1] == one.err.splitlines()[-1]
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    processes = re.findall(r"/\.scratch-scan/\.\d+\.(\d+)\.\w+\.tmp", writes.read_text())  # that wrote results
    assert len(set(processes)) == 2


@pytest.mark.engines
def test_a_worker_killed_in_the_scan(tmp_path):
    folder = Digits().write(tmp_path / "digits")
    request = tmp_path / "request"
    request.write_text(".0.")  # the first result's temporary file has such a name
    command = [*COMMAND, folder, "--workspace", tmp_path / "ws", *CHILDREN.told()]
    told = {"PYTHONPATH": PROBE, "BACKBEAM_PROBE_KILL": str(request)}
    failed, again = isolated([command, command], CHILDREN.server_commands, tmp_path, told)
    assert not request.exists()
    assert failed.code == 7, failed.err
    assert "backbeam: the engine failed" in failed.err
    assert again.code == 0, again.err
