"""Trains a workspace's run again on one device that takes the replicas' parts in turn.

In a process of its own, like any run: XLA reads its flags once in a process. The arguments are the workspace that has
the run, the one that is to get it, and the data set's folder.
"""

import sys
from dataclasses import replace
from pathlib import Path

from model.devices import choose_threads
from model.replicas import Engine, compile_in_turn
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.run_lookup import find_run
from pipeline.train.trainer import train_runs
from pipeline.train.training_job import TrainingJob, prepare_attempt


def main() -> None:
    having, getting, folder = map(Path, sys.argv[1:])
    record, data = find_run(having, None)
    choose_threads(record.config.layers, record.config.batch_size)
    engine = Engine(compile_in_turn(record.config), "CPU:0")
    job = TrainingJob(getting, replace(data, folder=folder), tensorboard=False, checkpoint_policy=CheckpointPolicy())
    train_runs(job, [prepare_attempt(job, record.config)], engine)


if __name__ == "__main__":
    main()
