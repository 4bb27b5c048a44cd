"""The scan of sources that are cut into tasks, by the real command on a job service with two workers."""

import sys

import pytest

from tests.engines.catalogue import EXTERNAL, PORTABLE, SERVERS
from tests.engines.isolation import isolated
from tests.helpers import Digits, contents
from tests.small_tasks import WRITERS

COMMAND = (sys.executable, "-m", "tests.small_tasks", "preprocess", "--num-shards", "3")
TWO_WORKERS = (*PORTABLE, *EXTERNAL, "--direct_num_workers=2", "--direct_running_mode=multi_threading")
POOL = {name: SERVERS[name] for name in ("job", "pool")}


@pytest.mark.engines
def test_every_layout_is_scanned_to_the_same_bytes(tmp_path):
    places = {layout: write(tmp_path / layout) for layout, write in WRITERS.items()}
    commands = []
    for name, engine in (("one", ()), ("two", TWO_WORKERS)):
        commands += [[*COMMAND, place, "--workspace", tmp_path / name, *engine] for place in places.values()]
    for done in isolated(commands, POOL, tmp_path, timeout=900):
        assert done.code == 0, done.err
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.engines
def test_damage_is_reported_in_the_same_words(tmp_path):
    folder = Digits().write(tmp_path / "digits")
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes() + b"more")
    commands = [
        [*COMMAND, folder, "--workspace", tmp_path / name, *engine]
        for name, engine in (("one", ()), ("two", TWO_WORKERS))
    ]
    one, two = isolated(commands, POOL, tmp_path)
    assert one.code == two.code == 3
    assert "trailing bytes" in one.err
    assert two.err.splitlines()[-1] == one.err.splitlines()[-1]
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
