"""How much longer a step takes if the split is read again in every epoch than if it stays in memory. See README.md.

    python -m tests.benchmarks.read_ahead

Exit codes: 0 done, however fast; those of backbeam if something failed; 2 usage.
"""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from model.recipes import TrainingConfig, find_recipe, fit_to_data, override
from pipeline.context import quiet_imports
from pipeline.preprocess.dataset import load_dataset
from tests.benchmarks.common import Folder, Output, Row, describe_machine, errors_end, in_child, save
from tests.benchmarks.streaming import NUM_CLASSES, make_dataset

BATCH_SIZE = 10
TARGET = 1.2


def main(
    num_examples: Annotated[int, typer.Option(min=20_000, help="Of the train split.")] = 300_000,
    window_mib: Annotated[int, typer.Option(min=1, help="Of the run that reads the split in every epoch.")] = 64,
    num_epochs: Annotated[int, typer.Option(min=2, help="Of each run; the first is not counted.")] = 4,
    repeats: Annotated[int, typer.Option(min=1, help="Pairs of runs.")] = 5,
    folder: Folder = None,
    output: Output = Path("build/benchmarks/read_ahead.parquet"),
) -> None:
    """Train the article's network with a window that holds the split and with a small one, in turn."""
    with errors_end("read_ahead"), tempfile.TemporaryDirectory(prefix="backbeam-benchmark-", dir=folder) as temporary:
        dataset = make_dataset(Path(temporary), num_examples)
        article = find_recipe("article-manual").config
        windows = {"in memory": num_examples * article.layers[0] // 2**20 + 1, "read in every epoch": window_mib}
        configs = {
            what: fit_to_data(
                override(article, num_epochs=float(num_epochs), batch_size=BATCH_SIZE, window_mib=mib),
                article.layers[0],
                NUM_CLASSES,
                num_examples,
            )
            for what, mib in windows.items()
        }
        rows = in_child(train_in_turn, dataset, configs, num_epochs, repeats)
        typer.echo("\n".join(["", describe_machine(), *table(rows), save(output, rows)]))


def train_in_turn(dataset: Path, configs: dict[str, TrainingConfig], num_epochs: int, repeats: int) -> list[Row]:
    """Take the steps of each configuration, again and again; return their time after the first epoch."""
    with quiet_imports():
        from model.batches import BatchPlan
        from model.lockstep import begin
        from model.replicas import start_engine
        from pipeline.train.split_reader import make_split_reader
        from tests.benchmarks.cases import REPORT_EVERY

    reader = make_split_reader(dataset, load_dataset(dataset).manifest, "train")
    engines = {what: start_engine(config, "cpu", None, "") for what, config in configs.items()}
    rows = []
    for repeat in range(repeats):
        for what, config in configs.items():
            plan = BatchPlan(config.seed, config.batch_size, config.num_steps, REPORT_EVERY, config.window_mib * 2**20)
            state = begin(config)
            moments = []
            done = 0
            for images, labels in engines[what].make_chunks(reader, plan, 0):
                state, loss = engines[what].run_chunk(state, images, labels)
                float(loss)  # waits for the steps
                done += len(labels)
                if done * num_epochs >= config.num_steps:
                    moments.append((done, time.perf_counter(), time.process_time()))
            steps, seconds, cpu_seconds = (last - first for first, last in zip(moments[0], moments[-1], strict=True))
            about = {"what": what, "window_mib": config.window_mib, "repeat": repeat, "machine": describe_machine()}
            rows.append(about | {"num_steps": steps, "seconds": seconds, "cpu_seconds": cpu_seconds})
    return rows


def table(rows: list[Row]) -> list[str]:
    """Return the best microseconds a step of each way and their ratio, of the clock and of the processor."""
    lines = []
    best = []
    for what in dict.fromkeys(row["what"] for row in rows):
        own = [row for row in rows if row["what"] == what]
        title = f"{what}, window of {own[0]['window_mib']} MiB"
        best.append([min(row[name] / row["num_steps"] * 1e6 for row in own) for name in ("seconds", "cpu_seconds")])
        each = " ".join(f"{row['seconds'] / row['num_steps'] * 1e6:.1f}" for row in own)
        lines.append(
            f"{title:<42}{best[-1][0]:>7.1f} us a step, the best of {each}; {best[-1][1]:.1f} of the processor"
        )
    (resident, resident_cpu), (streaming, streaming_cpu) = best
    verdict = "met" if streaming <= TARGET * resident else "missed"
    lines.append(f"{'ratio':<42}{streaming / resident:>7.2f}, at most {TARGET}: {verdict}")
    return [*lines, f"{'ratio of the processor time':<42}{streaming_cpu / resident_cpu:>7.2f}, if no core is free"]


if __name__ == "__main__":
    typer.run(main)
