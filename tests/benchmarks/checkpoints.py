"""What a checkpoint costs: `python -m tests.benchmarks.checkpoints [FOLDER]`.

Writes checkpoints of two networks as training does, flushed to the disk, two kept; prints milliseconds and bytes. The
folder decides on which disk; by default that of temporary files.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

NUM_WRITES = 30


def measure(folder: Path, recipe: str) -> str:
    import tensorflow as tf

    from model.fitting import Progress, Standing
    from model.lockstep import begin
    from model.recipes import RECIPES, fit_to_data
    from pipeline.train.checkpoints import Snapshot, write_checkpoint

    config = fit_to_data(RECIPES[recipe].config, 784, 10, 60_000)
    curve, taken = tuple(Progress(1000 * i, 10_000 * i, 0.1, 900, 1000, 1.0 * i) for i in range(60)), []
    for number in range(1, NUM_WRITES + 1):
        state = begin(config)._replace(step=tf.constant(number))
        started = time.perf_counter()
        write_checkpoint(folder / recipe, config, (), 2, Snapshot(Standing(number, state), curve))
        taken.append(time.perf_counter() - started)
    size = max(path.stat().st_size for path in (folder / recipe).glob("checkpoints/*"))
    milliseconds = [1000 * seconds for seconds in taken]
    return (
        f"{recipe:16} {statistics.median(milliseconds):6.1f} ms median, {max(milliseconds):6.1f} most, {size:,} bytes"
    )


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        for recipe in ("article-manual", "modern"):
            print(measure(Path(folder), recipe))  # noqa: T201


if __name__ == "__main__":
    main()
