"""Coverage-guided fuzzing of every reader: `make fuzz`."""

import os

import pytest

from tests.fuzz.drive import fuzz
from tests.fuzz.targets import TARGETS

NUM_RUNS = int(os.environ.get("BACKBEAM_FUZZ_RUNS", "20000"))
SLOW_TARGETS = {"checkpoint", "idx-images", "idx-labels", "numpy-source", "parquet-source"}  # which get a tenth


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_guided_by_coverage(name, record_property):
    pytest.importorskip("atheris", reason="atheris is not installed: the extra `fuzz` brings it to Linux on x86-64")
    done = fuzz(name, NUM_RUNS // 10 if name in SLOW_TARGETS else NUM_RUNS)
    record_property("hostile inputs tried", done.num_inputs)
    assert done.code == 0, done.said[-5000:]
