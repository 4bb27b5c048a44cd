"""The benchmarks as programs, at a tiny size, and how memory is measured."""

import re
import subprocess
import sys

import duckdb
import pytest

from tests.benchmarks import data
from tests.benchmarks.memory import watch
from tests.helpers import Digits

MIB = 2**20


def run_program(name, folder, columns, *options):
    output = folder / "rows.parquet"
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", "--output", output, *options]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == [output]  # the data sets are gone
    return done.stdout, duckdb.read_parquet(str(output)).project(columns).fetchall()


@pytest.mark.slow
def test_steps(tmp_path):
    options = ("--cases", "A", "--peers", "numpy,article", "--repeats", 2, "--seconds", 0.001)
    columns = "peer, repeat, seconds / num_steps, difference, step_flops"
    printed, rows = run_program("steps", tmp_path, columns, *options)
    assert "all compute the same" in printed
    assert re.search(r"NumPy +\d+\.\d +\d+\.\d +\d+\.\d\d +3\.0 +(met|missed) ", printed)
    assert {row[:2] for row in rows} == {(peer, n) for peer in ("manual", "numpy", "article") for n in (0, 1)}
    assert all(step_seconds > 0 and difference < 1e-4 for *_, step_seconds, difference, _ in rows)
    assert {flops for *_, flops in rows} == {958_800}


@pytest.mark.slow
def test_data(tmp_path):
    options = ("--small", 700, "--large", 7000, "--repeats", 1, "--no-peer", "--folder", tmp_path)
    columns = "way, num_examples, len(worker_bytes), seconds > 0"
    printed, rows = run_program("data", tmp_path, columns, *options)
    assert {row[1] for row in rows} == {700, 7000}
    assert ("preprocess, 2 workers", 7000, 3, True) in rows
    assert "from 700 to 7,000 images the peak of memory grew by" in printed


@pytest.mark.slow
def test_pictures(tmp_path):
    options = ("--num-examples", 700, "--repeats", 1, "--folder", tmp_path)
    printed, rows = run_program("pictures", tmp_path, "way, len(worker_bytes)", *options)
    assert ("preprocess, 2 workers", 3) in rows
    assert re.search(r"decoding has \d+\.\d\d of the speed of Pillow alone", printed)


@pytest.mark.thorough
def test_main_job(tmp_path):
    printed, rows = run_program("main_job", tmp_path, "what, seconds > 0, stages like '%train%'", "--repeats", 1)
    assert rows == [
        ("import tensorflow", True, False),
        ("backbeam run, in a new workspace", True, True),
        ("the same again, all done", True, True),
        ("backbeam --help", True, False),
    ]
    assert re.search(r"the fastest run: .*train \d+\.\d\d s.*, the rest \d", printed)


@pytest.mark.thorough
def test_driver(tmp_path):
    options = ("--blocks", "2,5", "--folder", tmp_path)
    printed, rows = run_program("driver", tmp_path, "num_blocks, len(worker_bytes), driver_bytes > 0", *options)
    assert rows == [(2, 3, True), (5, 3, True)]  # two workers, and the server that they are forked from
    assert "bytes a block" in printed


@pytest.mark.thorough
def test_manifest(tmp_path):
    printed, rows = run_program(
        "manifest", tmp_path, "what, driver_bytes >= 0", "--num-shards", 3, "--folder", tmp_path
    )
    assert rows == [("write", True), ("load", True)]
    assert "3 shards, " in printed


@pytest.mark.slow
def test_growth(tmp_path):
    source = Digits().write(tmp_path / "source", compress=True)
    output = tmp_path / "output"
    output.mkdir()
    _, rows = run_program("growth", output, 'what, "data sets", tables', "--source", source)
    added = {what: numbers for what, *numbers in rows}
    assert added["data set, validated"][0] > 0
    assert added["night with a new data set"][1] > added["evaluation"][1] > 0
    assert added["night without new data"] == [0, 0]
    assert added["night with the data of three"][1] > added["another night"][1]


@pytest.mark.slow
def test_reading(tmp_path):
    _, rows = run_program("reading", tmp_path, "what", "--num-examples", 90_000, "--folder", tmp_path)
    assert rows[2] == ("later epochs, in memory, window of 1024 MiB",)
    assert rows[5] == ("later epochs, read again, window of 64 MiB",)


@pytest.mark.slow
def test_streaming(tmp_path):
    options = ("--num-examples", 20_000, "--window-mib", 8, "--folder", tmp_path)
    printed, rows = run_program("streaming", tmp_path, "num_examples, peak_bytes > baseline_bytes", *options)
    assert rows == [(2000, True), (20_000, True)]
    assert "10 times the examples took" in printed


@pytest.mark.slow
def test_read_ahead(tmp_path):
    options = ("--num-examples", 20_000, "--window-mib", 4, "--num-epochs", 2, "--repeats", 2, "--folder", tmp_path)
    columns = "what, window_mib, repeat, num_steps, cpu_seconds > 0"
    printed, rows = run_program("read_ahead", tmp_path, columns, *options)
    ways = (("in memory", 15), ("read in every epoch", 4))
    assert rows == [(*way, repeat, 2000, True) for repeat in range(2) for way in ways]
    assert re.search(r"ratio +\d+\.\d\d, at most 1.2: (met|missed)", printed)


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


def test_without_canonical_mnist_the_peer_is_left_out(monkeypatch, tmp_path):
    monkeypatch.delenv("BACKBEAM_TEST_DATA", raising=False)
    rows, said = data.measure_peer(tmp_path)
    assert rows == []
    assert "TensorFlow Datasets is left out: it builds canonical MNIST only" in said[0]
