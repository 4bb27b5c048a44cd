"""Functions that a training process calls for tests/pipeline/train/test_training_process.py."""

import errno
import os
import signal
import sys
import tempfile
from pathlib import Path
from threading import Event

from model.errors import CorruptArtefact
from model.recipes import RECIPES
from pipeline.processes import defer_signals
from pipeline.progress import show_message, warn
from pipeline.train.divergence import TrainingDiverged


def report():
    """Write messages, and return what the process has: its temporary folder, and whether it imported TensorFlow."""
    show_message("a message")
    warn("a warning")
    return tempfile.gettempdir(), "tensorflow" in sys.modules


def find_damage():
    raise CorruptArtefact("a file is corrupt", hint="repair it")


def diverge():
    raise TrainingDiverged.of(RECIPES["article-manual"].config, "the loss is nan")


def fail_to_write():
    raise OSError(errno.ENOSPC, "No space left on device", "parameters")


def make_a_mistake():
    raise ZeroDivisionError("of this code")


def be_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def be_terminated():
    os.kill(os.getpid(), signal.SIGTERM)


def train(started: Path):
    """Train until it is to stop, as `trainer.train_runs` does, and say so."""
    stop = Event()
    with defer_signals(stop.set):
        started.write_text(str(os.getpid()))
        stop.wait(60)
        show_message("has a checkpoint")
