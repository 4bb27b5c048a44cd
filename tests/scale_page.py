"""Writes docs/scale.md, what a billion examples take, from what was measured: `python -m tests.scale_page`.

The time of a stage is taken for a fixed part, a part that one process does for each example, and a part that is shared:

    seconds = fixed + (alone + shared / workers) examples
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BILLION = 10**9
WORKERS = (1, 2, 10, 100, 1000)

# Microseconds an image by (number of images, number of processes), as `make bench-data` printed them on two shared
# cores; README.md, "How long it takes", has them too, and a test compares the two.
MEASURED = {
    "preprocess": {
        (70_000, 1): 12.0,
        (700_000, 1): 8.2,
        (7_000_000, 1): 6.8,
        (70_000, 2): 38.2,
        (700_000, 2): 6.9,
        (7_000_000, 2): 4.3,
    },
    "validate": {(70_000, 1): 6.2, (700_000, 1): 3.8, (7_000_000, 1): 4.4},
    "evaluate": {(70_000, 1): 12.5, (700_000, 1): 7.1, (7_000_000, 1): 6.0},
}
ALONE = ("validate",)  # a loop of one process
READ_FIRST, READ_AGAIN = 0.43e6, 0.78e6  # examples a second for training: in the first epoch, in every later one
DRIVER_BYTES = 4.3  # of memory for each example, in the process that drives `preprocess`
KEPT_BYTES = 32  # on the disk for each example, while `validate` works
PIXELS, RECORD_BYTES, SHARD_BYTES = 784, 855, 6.4e6


class Costs(NamedTuple):
    """What a stage takes.

    Attributes:
        fixed: seconds, by the number of processes it was measured with: 1, or several.
        alone: microseconds an example that one process spends, whatever the others do.
        shared: microseconds an example that are shared among the workers.
    """

    fixed: dict[int, float]
    alone: float
    shared: float

    def seconds(self, num_examples: int, workers: int) -> float:
        """Return how long it takes."""
        return self.fixed.get(workers, self.fixed[max(self.fixed)]) + 1e-6 * num_examples * (
            self.alone + self.shared / workers
        )


def fit(stage: str) -> Costs:
    """Find the costs that come nearest to what was measured, by the relative errors' squares."""
    from scipy.optimize import nnls

    measured = MEASURED[stage]
    processes = sorted({workers for _, workers in measured})
    rows, times = [], []
    for (num_examples, workers), micros in measured.items():
        seconds = micros * num_examples * 1e-6
        own = [float(workers == each) for each in processes]
        shares = [0.0, 1.0] if stage not in ALONE else [1.0, 0.0]
        parts = [1.0, 1.0 / workers] if len(processes) > 1 else shares
        rows.append(np.array([*own, *(num_examples * 1e-6 * part for part in parts)]) / seconds)
        times.append(1.0)
    found = nnls(np.array(rows), np.array(times))[0]
    return Costs(dict(zip(processes, found[:-2].tolist(), strict=True)), float(found[-2]), float(found[-1]))


def errors(stage: str) -> Iterator[tuple[int, int, float, float]]:
    """Yield the number of examples and of processes, the seconds that were measured, and those of the model."""
    costs = fit(stage)
    for (num_examples, workers), micros in MEASURED[stage].items():
        yield num_examples, workers, micros * num_examples * 1e-6, costs.seconds(num_examples, workers)


def page() -> str:
    """Return the page as it should be."""
    costs = {stage: fit(stage) for stage in MEASURED}
    return "\n".join([HEAD, *_model(costs), CHECK, *_check(), FORECAST, *_forecast(costs), *_bottleneck(costs), TAIL])


def _model(costs: dict[str, Costs]) -> list[str]:
    head = [
        "| stage | fixed, 1 process | fixed, several | us an example alone | us an example shared |",
        "|---|---|---|---|---|",
    ]
    rows = [
        f"| `{stage}` | {each.fixed[1]:.2f} s | {f'{each.fixed[2]:.2f} s' if 2 in each.fixed else 'not measured'} | "
        f"{each.alone:.2f} | {each.shared:.2f} |"
        for stage, each in costs.items()
    ]
    return [*head, *rows, ""]


def _check() -> list[str]:
    head = ["| stage | examples | processes | measured | model | error |", "|---|---|---|---|---|---|"]
    rows = [
        f"| `{stage}` | {num_examples:,} | {workers} | {measured:.2f} s | {modelled:.2f} s | "
        f"{100 * (modelled / measured - 1):+.0f} % |"
        for stage in MEASURED
        for num_examples, workers, measured, modelled in errors(stage)
    ]
    return [*head, *rows, ""]


def _forecast(costs: dict[str, Costs]) -> list[str]:
    head = [f"| stage | {' | '.join(_workers(workers) for workers in WORKERS)} |", f"|---|{'---|' * len(WORKERS)}"]
    rows = [
        f"| `{stage}` | {' | '.join(_duration(each.seconds(BILLION, workers)) for workers in WORKERS)} |"
        for stage, each in costs.items()
    ]
    reading = [BILLION / READ_FIRST, BILLION / READ_AGAIN]
    trained = f"| `train`, reading only, a first and a later epoch | {' and '.join(map(_duration, reading))} | | | | |"
    return [*head, *rows, trained.replace(" | | | | |", " |" + " as before |" * (len(WORKERS) - 1)), ""]


def _workers(number: int) -> str:
    return f"{number:,} worker{'s' if number > 1 else ''}"


def _bottleneck(costs: dict[str, Costs]) -> list[str]:
    scan, work = costs["preprocess"].alone, costs["preprocess"].shared
    waiting = f"""
`preprocess` spends {_duration(1e-6 * BILLION * scan)} in one process, most of it the scan of the source, and as much as
all workers together do if there are {work / scan:.1f} of them: more workers than that wait for it. `validate` takes
{_duration(costs["validate"].seconds(BILLION, 1))} whatever there is. So **validation is the first bottleneck, then the
scan**; each is one process on one core.
"""
    size = f"""
Bytes: {BILLION * RECORD_BYTES / 1e12:.2f} TB of shards, about the same again for a while where workers leave each
other their cuts; {BILLION * DRIVER_BYTES / 1e9:.1f} GB of memory in the driver of `preprocess`;
{BILLION * KEPT_BYTES / 1e9:.0f} GB of disk while `validate` works. Of shards, {BILLION * PIXELS / SHARD_BYTES:,.0f}
of the usual size would be more than the 99,999 that a split may have, so they become
{BILLION * PIXELS / 99_999 / 1e6:.1f} MB of pixels each.
"""
    return [waiting.strip(), size]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


HEAD = """# A billion examples

Computed by `python -m tests.scale_page` from what `make bench-data` measured on two shared cores; a test checks that
this page is current. Nobody has run a billion examples: this is arithmetic, and where it stops being sound it says
so.

A stage is taken for three parts: fixed, by one process for each example, and by all workers for each example:

    seconds = fixed + (alone + shared / workers) x examples

The parts that come nearest to the measurements (28 x 28 images; squares of the relative errors):
"""
CHECK = """Of `evaluate` no run with several workers was measured: all of it is taken to be shared, since its elements
are shards and what is added up at the end is a few kilobytes of each. Of `validate` nothing is: it is a loop.

## The model against the runs
"""
FORECAST = """The errors are those of a line through three sizes on a machine that others use too. From the largest
run to a billion it is a factor of 143.

## What a billion take

Each worker a core like those that were measured, the data as near as a local disk:
"""
TAIL = """## What is done about it, and what is not

- **Blocks, not elements**: a Beam pipeline that maps image by image took 316 us for each; a billion would be 88 hours
  of one core where `preprocess` takes the 2 hours above.
- **The shuffle is arithmetic**: an example's shard and place follow from its number, so no stage sorts a billion
  keys, any number of workers writes the same bytes, and a bundle that is tried again costs that bundle.
- **Memory does not grow with the data** but for the driver's bytes above, which are where the cuts of the blocks lie.
- **Training reads windows**: `--window-mib` bounds what is held and shuffled together. Reading is slower than the
  step only for networks as small as the article's, at large batches: 128 examples take 250 us to train and 164 to 300
  us to read. Training is data-parallel by replicas, but every one reads all shards.
- **In a bucket, requests and bandwidth come first**: at 100 MB/s the shards alone take 2.4 hours to a machine.
  Workers of `preprocess` and `evaluate` read their own part; `validate` and `train` read everything, through a local
  copy.
- **Several sources**: a source that arrived today is preprocessed alone, and a manifest joins it. Of a billion
  examples in a hundred parts, a day's work is a hundredth of the table's first line, but validation looks at all of
  it.
- **Not done**: a scan or a validation by several processes. Up to some ten million examples both take less than a
  minute.
"""


if __name__ == "__main__":
    PAGE.write_text(page())
