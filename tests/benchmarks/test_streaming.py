"""The benchmark of streaming at a tiny size."""

import subprocess
import sys

import duckdb
import pytest

from pipeline.preprocess.manifest import check_dataset
from tests.benchmarks import streaming


def test_the_data_set_is_a_legitimate_one(tmp_path):
    folder = streaming.make_dataset(tmp_path, 8200)
    manifest, _ = check_dataset(folder)
    assert [shard.num_examples for shard in manifest.splits["train"].shards] == [8192, 8]
    assert manifest.splits["test"].num_examples == 1000
    assert min(manifest.splits["train"].class_counts) > 500


def test_what_is_said_of_two_sizes():
    row = {"window_mib": 1, "recipe": "x", "machine": "y", "train_seconds": 2.0, "read_seconds": 1.0}
    small = row | {"num_examples": 10, "dataset_bytes": 2**20, "baseline_bytes": 2**21, "peak_bytes": 2**22}
    large = small | {"num_examples": 100, "peak_bytes": 2**22 + 2**20}
    assert "2 MiB above the 2 MiB of the imports, 4 MiB in all" in streaming.describe(small)
    assert "50 examples a second\n  reading  1.0 s, 100 examples a second" in streaming.describe(large)
    assert "10 times the examples took 1.50 times the memory" in streaming.flatness(small, large)


@pytest.mark.slow
def test_a_tiny_run(tmp_path):
    output = tmp_path / "streaming.parquet"
    command = [sys.executable, "-m", "tests.benchmarks.streaming", "--num-examples", 20_000, "--window-mib", 8]
    command += ["--output", output, "--folder", tmp_path]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = duckdb.read_parquet(str(output)).project("num_examples, peak_bytes > baseline_bytes").fetchall()
    assert rows == [(2000, True), (20_000, True)]
    assert list(tmp_path.iterdir()) == [output]  # the data sets are gone
