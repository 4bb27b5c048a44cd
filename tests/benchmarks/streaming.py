"""Training on a data set that does not fit the memory it is given: is it flat, and how fast? See README.md beside this.

    python -m tests.benchmarks.streaming

Exit codes: 0 done, however fast and large; those of backbeam if something failed; 2 usage.
"""

import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from model.recipes import TrainingConfig, find_recipe, fit_to_data, override
from pipeline.context import quiet_imports
from pipeline.preprocess.dataset import load_dataset
from pipeline.train.checkpoint_policy import CheckpointPolicy
from tests.benchmarks.cases import write_source
from tests.benchmarks.common import Folder, Output, Row, describe_machine, errors_end, in_child, save
from tests.benchmarks.ways import preprocess_source

NUM_TEST = 1000
NUM_CLASSES = 10
BATCH_SIZE = 128


def main(
    num_examples: Annotated[int, typer.Option(min=1, help="Of the large data set; the small has a tenth.")] = 3_000_000,
    window_mib: Annotated[int, typer.Option(min=1, help="As --window-mib of backbeam train.")] = 128,
    folder: Folder = None,
    output: Output = Path("build/benchmarks/streaming.parquet"),
) -> None:
    """Train an epoch on a small and on a large data set with the same budget of memory."""
    with errors_end("streaming"):
        rows = [measure(size, window_mib, folder) for size in (max(1, num_examples // 10), num_examples)]
        typer.echo("\n".join([*map(describe, rows), flatness(*rows), save(output, rows)]))


def measure(num_examples: int, window_mib: int, folder: Path | None) -> Row:
    """Make a data set and train on it, each in a process of its own, and remove it."""
    with tempfile.TemporaryDirectory(prefix="backbeam-benchmark-", dir=folder) as temporary:
        workspace = Path(temporary)
        typer.echo(f"writing {num_examples:,} examples to {workspace}", err=True)
        dataset = make_dataset(workspace, num_examples)
        config = training_config(num_examples, window_mib)
        typer.echo("training", err=True)
        trained = in_child(train, workspace, dataset, config)
        sizes = [file.num_bytes for file in load_dataset(dataset).manifest.files()]
    about = {"num_examples": num_examples, "dataset_bytes": sum(sizes), "window_mib": window_mib}
    recipe = f"{config.recipe}, batches of {config.batch_size}"
    return about | trained | {"recipe": recipe, "machine": describe_machine()}


def training_config(num_examples: int, window_mib: int) -> TrainingConfig:
    article = find_recipe("article-autodiff").config
    config = override(article, num_epochs=1.0, batch_size=BATCH_SIZE, window_mib=window_mib)
    return fit_to_data(config, 784, NUM_CLASSES, num_examples)


def make_dataset(workspace: Path, num_examples: int) -> Path:
    """Preprocess digits, again and again; return the data set's folder."""
    write_source(workspace / "source", num_examples, NUM_TEST)
    in_child(preprocess_source, workspace, "made", [])
    shutil.rmtree(workspace / "source")
    return next((workspace / "made" / "datasets").iterdir())


def train(workspace: Path, dataset: Path, config: TrainingConfig) -> Row:
    """Train as `backbeam train` does; its check of the whole data set beforehand is not counted.

    Returns:
        the peak of the process's memory before (everything is imported) and after, in bytes, and the seconds of
        training, compilation included.
    """
    with quiet_imports():
        from model.replicas import start_engine
        from pipeline.train.trainer import train_runs
        from pipeline.train.training_job import TrainingJob, prepare_attempt

        engine = start_engine(config, "cpu", None, "")
    data = load_dataset(dataset)
    baseline, started = _peak_bytes(), time.perf_counter()
    job = TrainingJob(workspace, data, tensorboard=False, checkpoint_policy=CheckpointPolicy(every=0))
    train_runs(job, [prepare_attempt(job, config)], engine)
    seconds = time.perf_counter() - started
    return {"baseline_bytes": baseline, "peak_bytes": _peak_bytes(), "train_seconds": seconds}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def describe(row: Row) -> str:
    size, mib = row["num_examples"], 2**20
    taken = (row["peak_bytes"] - row["baseline_bytes"]) / mib
    return (
        f"\n{size:,} examples, {row['dataset_bytes'] / mib:,.0f} MiB of shards, window {row['window_mib']} MiB, "
        f"one epoch of {row['recipe']}, {row['machine']}\n"
        f"  memory   {taken:,.0f} MiB above the {row['baseline_bytes'] / mib:,.0f} MiB of the imports, "
        f"{row['peak_bytes'] / mib:,.0f} MiB in all\n"
        f"  training {row['train_seconds']:.1f} s, {size / row['train_seconds']:,.0f} examples a second"
    )


def flatness(small: Row, large: Row) -> str:
    few, many = (row["peak_bytes"] - row["baseline_bytes"] for row in (small, large))
    times = large["num_examples"] / small["num_examples"]
    return f"\n{times:.0f} times the examples took {many / max(1, few):.2f} times the memory above the imports"


if __name__ == "__main__":
    typer.run(main)
