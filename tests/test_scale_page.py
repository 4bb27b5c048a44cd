"""docs/performance.md: the figures about a billion examples follow from the measurements on the page.

seconds = fixed + (alone + shared / workers) examples
"""

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import nnls

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "performance.md").read_text()
WORKERS = (1, 2, 10, 100, 1000)
UNITS = {"s": 1, "min": 60, "h": 3600}
STAGES = ("preprocess", "validate", "evaluate")


def table(head: str) -> dict[str, list[list[str]]]:
    """The cells of the rows below a head that begins so, by stage."""
    lines = PAGE.partition(f"\n{head}")[2].partition("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    return {stage: [cells for name, *cells in rows if name == stage] for stage in STAGES}


COSTS, RUNS, FORECAST = table("| stage | fixed"), table("| stage | examples"), table("| stage | 1 worker")


def read_seconds(text: str) -> float:
    number, unit = text.split()
    return float(number) * UNITS[unit]


def read_runs(stage: str) -> list[tuple[int, int, float, float]]:
    rows = RUNS[stage]
    return [(int(a.replace(",", "")), int(b), read_seconds(c), read_seconds(d)) for a, b, c, d, _ in rows]


def modelled_seconds(stage: str, num_examples: int, workers: int) -> float:
    [(alone_fixed, shared_fixed, alone, shared)] = COSTS[stage]
    fixed = alone_fixed if workers == 1 or shared_fixed == "not measured" else shared_fixed
    return read_seconds(fixed) + 1e-6 * num_examples * (float(alone) + float(shared) / workers)


@pytest.mark.parametrize("stage", STAGES)
def test_the_costs_come_nearest_to_what_was_measured(stage):
    """By the relative errors' squares. With one number of processes all is alone, or for `evaluate` all is shared."""
    runs = read_runs(stage)
    processes = sorted({workers for _, workers, *_ in runs})
    rows = []
    for num_examples, workers, measured, _ in runs:
        parts = [1.0, 1.0 / workers] if len(processes) > 1 else [float(stage == "validate"), float(stage == "evaluate")]
        own = [float(workers == each) for each in processes]
        rows.append(np.array([*own, *(1e-6 * num_examples * part for part in parts)]) / measured)
    found = nnls(np.array(rows), np.ones(len(rows)))[0]
    stated = [float(cell.removesuffix(" s")) for cell in COSTS[stage][0] if cell != "not measured"]
    np.testing.assert_allclose(stated, found, rtol=0.02, atol=0.006)


@pytest.mark.parametrize("stage", STAGES)
def test_the_model_agrees_with_the_runs_and_gives_the_forecast(stage):
    for num_examples, workers, measured, modelled in read_runs(stage):
        assert modelled == pytest.approx(modelled_seconds(stage, num_examples, workers), rel=0.01, abs=0.01)
        assert abs(modelled / measured - 1) <= (0.15 if num_examples >= 700_000 else 0.25)
    for workers, stated in zip(WORKERS, FORECAST[stage][0], strict=True):
        assert read_seconds(stated) == pytest.approx(modelled_seconds(stage, 10**9, workers), rel=0.05, abs=0.5)
