"""Write the section "A billion examples" of docs/performance.md: `python -m tests.scale_page`.

The time of a stage is modelled as a fixed part, a part that one process does for each example, and a part that all
workers share:

    seconds = fixed + (alone + shared / workers) examples
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- section of tests/scale_page.py -->\n", "<!-- end of section -->\n"
BILLION = 10**9
WORKERS = (1, 2, 10, 100, 1000)

# Microseconds an image by (number of images, number of processes), as `make bench-data` printed them on two shared
# cores. The page has them too, above the section, and a test compares the two.
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


def section() -> str:
    """Return the section, in Markdown."""
    costs = {stage: fit(stage) for stage in MEASURED}
    return "\n".join([HEAD, *_model(costs), CHECK, *_check(), FORECAST, *_forecast(costs), *_bottleneck(costs), TAIL])


def with_section(page: str) -> str:
    """Return the page with the section as it should be."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + section() + END + rest.split(END)[1]


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
One process of `preprocess` works {_duration(1e-6 * BILLION * scan)} alone, most of it on the scan of the source. With
{work / scan:.1f} workers the shared part takes as long; more workers wait for that process. `validate` takes
{_duration(costs["validate"].seconds(BILLION, 1))} with any number of workers. So **validation is the first bottleneck,
and the scan is the second**. Each is one process on one core.
"""
    size = f"""
Disk and memory:

- {BILLION * RECORD_BYTES / 1e12:.2f} TB of shards, and about as much again for a while, for the files that workers
  exchange
- {BILLION * DRIVER_BYTES / 1e9:.1f} GB of memory in the process that drives `preprocess`
- {BILLION * KEPT_BYTES / 1e9:.0f} GB of disk while `validate` works
- {BILLION * PIXELS / 99_999 / 1e6:.1f} MB of pixels in each shard: shards of the usual size would be
  {BILLION * PIXELS / SHARD_BYTES:,.0f}, and a split may have 99,999
"""
    return [waiting.strip(), size]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


HEAD = """## A billion examples

`python -m tests.scale_page` computes this section from what `make bench-data` measured on two shared cores; a test
checks that it is current. Nobody has run a billion examples: this is arithmetic.

The time of a stage is modelled as a fixed part, a part that one process does for each example, and a part that all
workers share:

    seconds = fixed + (alone + shared / workers) x examples

These parts fit the measurements best (28 x 28 images, least squares of the relative errors):
"""
CHECK = """No run of `evaluate` with several workers was measured. Its elements are shards, and a few kilobytes of each
are added up at the end, so all of its time is taken for shared. `validate` is a loop in one process, so none of its
time is shared.

### The model and the measurements
"""
FORECAST = """The errors are those of a line through three sizes, on a machine with other work. A billion is 143 times
the largest measured run.

### The time of a billion examples

Each worker is a core like the measured ones, and the data are on a local disk:
"""
TAIL = """### Reasons and limits

- **Beam's elements are blocks, not images.** A Beam pipeline that maps image by image took 316 us for each. A billion
  would take 88 hours of one core; `preprocess` takes the 2 hours above.
- **The shuffle is arithmetic.** The shard and the place of an example follow from its number. So no stage sorts a
  billion keys, any number of workers writes the same bytes, and a bundle that is tried again costs only that bundle.
- **Memory does not grow with the data**, except for the driver's bytes above, which say where the blocks are cut.
- **Training reads windows.** `--window-mib` bounds the examples that are held and shuffled together. Reading is slower
  than the step only for networks as small as the article's with large batches: 128 examples take 250 us to train and
  164 to 300 us to read. Replicas share the arithmetic of training, but each reads all shards.
- **In a bucket, requests and bandwidth are the limit.** At 100 MB/s the shards alone take 2.4 hours to one machine.
  Workers of `preprocess` and `evaluate` read their own part; `validate` and `train` read everything, `train` through a
  local copy.
- **A new source is preprocessed alone**, and a manifest joins it to the others. If a billion examples came in a hundred
  parts, a day's work would be a hundredth of the first row of the table, but validation reads all of them.
- **Not done**: a scan or a validation by several processes. Up to ten million examples each takes less than a minute.
"""


if __name__ == "__main__":
    PAGE.write_text(with_section(PAGE.read_text()))
