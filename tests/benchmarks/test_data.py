"""The benchmark of preprocessing and evaluation at a tiny size, and what it says of memory."""

import subprocess
import sys

import duckdb
import pytest

from tests.benchmarks import data
from tests.benchmarks.memory import watch
from tests.benchmarks.tfds import compare

MIB = 2**20


def row(way, num_examples, seconds, driver, workers=()):
    memory = {"driver_bytes": driver * MIB, "baseline_bytes": 1, "worker_bytes": [peak * MIB for peak in workers]}
    return {"way": way, "num_examples": num_examples, "seconds": seconds, "cpu_seconds": 1.0, "repeat": 0} | memory


def test_the_peak_is_that_of_the_work_alone_and_of_each_process_it_starts():
    bytearray(300 * MIB)  # what was held before the work does not count
    code = "import time; held = bytearray({} * 2**20); time.sleep(0.5)"

    def work():
        held = bytearray(100 * MIB)
        children = [subprocess.Popen([sys.executable, "-c", code.format(size)]) for size in (60, 30)]
        assert [child.wait() for child in children] == [0, 0]
        del held

    measured = watch(work)
    assert 95 * MIB <= measured.driver_bytes < 200 * MIB  # the kernel counts in batches of pages
    large, small = measured.worker_bytes
    assert 55 * MIB <= large < 90 * MIB  # not what this process held when it started them
    assert 25 * MIB <= small < 55 * MIB


def test_what_is_said_of_rows():
    rows = [row("preprocess", 100, 2.0, 50), row("preprocess", 1100, 20.0, 60, [300, 200]), row("x", 100, 3.0, 1)]
    assert [line.split() for line in data.table(rows)[1:]] == [
        ["preprocess", "100", "2.00", "20000.0", "10000.0", "1.00", "50"],
        ["x", "100", "3.00", "30000.0", "10000.0", "1.50", "1"],
        ["preprocess", "1,100", "20.00", "18181.8", "909.1", "1.00", "60", "300,", "200"],
    ]
    assert "10 MiB, 10485.8 bytes an image in the driver" in data.growth(rows)[-1]


def test_equal_records_are_counted_file_by_file():
    first = {"a": ["1", "2", "2"], "b": ["3"]}
    assert compare.num_equal(first, {"a": ["2", "1", "2"], "b": ["3"]}) == 4
    assert compare.num_equal(first, {"a": ["3", "2"]}) == 1


def test_without_canonical_mnist_the_peer_is_left_out(monkeypatch, tmp_path):
    monkeypatch.delenv("BACKBEAM_TEST_DATA", raising=False)
    rows, said = data.measure_peer(tmp_path)
    assert rows == []
    assert "TensorFlow Datasets is left out: it builds canonical MNIST only" in said[0]


@pytest.mark.slow
def test_a_tiny_run(tmp_path):
    output = tmp_path / "data.parquet"
    command = [sys.executable, "-m", "tests.benchmarks.data", "--small", 700, "--large", 7000, "--repeats", 1]
    command += ["--no-peer", "--output", output, "--folder", tmp_path]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    rows = duckdb.read_parquet(str(output)).project("way, num_examples, len(worker_bytes), seconds > 0").fetchall()
    assert {row[1] for row in rows} == {700, 7000}
    assert ("preprocess, 2 workers", 7000, 2, True) in rows
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.slow
def test_a_tiny_run_of_reading(tmp_path):
    output = tmp_path / "reading.parquet"
    command = [sys.executable, "-m", "tests.benchmarks.reading", "--num-examples", 90_000]
    command += ["--output", output, "--folder", tmp_path]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    what = [name for (name,) in duckdb.read_parquet(str(output)).project("what").fetchall()]
    assert what[2] == "later epochs, in memory, window of 1024 MiB"
    assert what[5] == "later epochs, read again, window of 64 MiB"
