"""How much longer a step takes if the split is read again in every epoch than if it stays in memory. See README.md.

    python -m tests.benchmarks.read_ahead

Exit codes: 0 done, however fast; those of backbeam if something failed; 2 usage.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from model.recipes import TrainingConfig, find_recipe, fit_to_data, override
from pipeline.context import quiet_imports
from pipeline.preprocess.dataset import load_dataset
from pipeline.train.checkpoint_policy import CheckpointPolicy
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
        workspace = Path(temporary)
        dataset = make_dataset(workspace, num_examples)
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
        rows = in_child(train_in_turn, workspace, dataset, configs, num_epochs, repeats)
        typer.echo("\n".join(["", describe_machine(), *table(rows), save(output, rows)]))


def train_in_turn(
    workspace: Path, dataset: Path, configs: dict[str, TrainingConfig], num_epochs: int, repeats: int
) -> list[Row]:
    """Train each configuration as `backbeam train` does, again and again; return the seconds after the first epoch."""
    with quiet_imports():
        from model.replicas import start_engine
        from pipeline.evaluate.table_reader import read_rows
        from pipeline.train.trainer import train_runs
        from pipeline.train.training_job import TrainingJob, prepare_attempt

    job = TrainingJob(workspace, load_dataset(dataset), tensorboard=False, checkpoint_policy=CheckpointPolicy(every=0))
    engines = {what: start_engine(config, "cpu", None, "") for what, config in configs.items()}
    rows = []
    for repeat in range(repeats):
        for what, config in configs.items():
            attempt = prepare_attempt(job, config)
            train_runs(job, [attempt], engines[what])
            curve = read_rows(workspace, "learning_curve", attempt.run_id).to_pylist()
            first, *_, last = (point for point in curve if point["step"] * num_epochs >= config.num_steps)
            steps = last["step"] - first["step"]
            about = {"what": what, "window_mib": config.window_mib, "repeat": repeat, "num_steps": steps}
            rows.append(about | {"seconds": last["seconds"] - first["seconds"], "machine": describe_machine()})
            shutil.rmtree(workspace / "runs")
            shutil.rmtree(workspace / "reports")
    return rows


def table(rows: list[Row]) -> list[str]:
    """Return the best microseconds a step of each way and their ratio."""
    lines = []
    best = []
    for what in dict.fromkeys(row["what"] for row in rows):
        own = [row["seconds"] / row["num_steps"] * 1e6 for row in rows if row["what"] == what]
        window = next(row["window_mib"] for row in rows if row["what"] == what)
        each = " ".join(f"{each:.1f}" for each in own)
        lines.append(f"{what + f', window of {window} MiB':<40}{min(own):>7.1f} us a step, the best of {each}")
        best.append(min(own))
    ratio = best[1] / best[0]
    verdict = "met" if ratio <= TARGET else "missed"
    return [*lines, f"{'ratio':<40}{ratio:>7.2f}, at most {TARGET}: {verdict}"]


if __name__ == "__main__":
    typer.run(main)
