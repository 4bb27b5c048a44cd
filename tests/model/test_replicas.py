import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from model.errors import EngineFailed
from model.recipes import RECIPES, fit_to_data, override
from model.replicas import compile_in_turn, explain, start_engine
from model.training import compile_chunk, start_state
from tests.helpers import Digits

MODERN = {"activation": "relu", "output": "softmax", "loss": "cross-entropy", "start": "he"}
MODERN |= {"layers": (20, 70, 9, 3), "momentum": 0.9, "weight_decay": 1e-3, "schedule": "cosine"}
ALL = MODERN | {"weights_rate": 0.1, "biases_rate": 0.1, "dropout": 0.2}


def config(**changes):
    fitted = fit_to_data(RECIPES["article-manual"].config, 20, 3, 90)
    return override(fitted, **({"num_steps": 60, "batch_size": 12} | changes))


def train_chunks(settings, run_chunk, before=lambda state: state):
    """Train 40 and 20 steps; `before` is called with the state before each of the two chunks."""
    images, labels = Digits(num_train=720).split(0, 720)
    images, labels = images.reshape(-1, 12, 20), labels.reshape(-1, 12).astype(np.int32)
    state = start_state(settings)
    for first, last in ((0, 40), (40, 60)):
        state, loss = run_chunk(before(state), tf.constant(images[first:last]), tf.constant(labels[first:last]))
    return state, loss


def digest(result):
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in tf.nest.flatten(result))).hexdigest()


def flat(state):
    return np.concatenate([np.ravel(part) for part in tf.nest.flatten(state.parameters)])


@pytest.mark.thorough
def test_parts_in_turn_equal_the_whole_batch_up_to_rounding():
    """Dropout masks too: other masks would give other parameters."""
    state, loss = train_chunks(config(num_replicas=3, **ALL), compile_in_turn(config(num_replicas=3, **ALL)))
    whole, whole_loss = train_chunks(config(**ALL), compile_chunk(config(**ALL)))
    assert int(state.step) == int(whole.step) == 60
    np.testing.assert_allclose(flat(state), flat(whole), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(loss, whole_loss, rtol=1e-3)


def test_one_replica_equals_training_without_replicas():
    engine = start_engine(config(), "cpu", None, "run")
    assert engine.device == "CPU:0"
    state, loss = train_chunks(config(), engine.run_chunk)
    assert digest((state, loss)) == digest(train_chunks(config(), compile_chunk(config())))
    assert state.parameters[0].weights.device.endswith("CPU:0")


@pytest.mark.parametrize(
    "changes",
    [
        {"num_replicas": 3} | ALL,  # the order of addition shows only with three or more
        pytest.param({"num_replicas": 4, "step": "autodiff"} | ALL, marks=pytest.mark.slow),
    ],
)
@pytest.mark.thorough
def test_logical_devices_and_parts_in_turn_give_the_same_bits(changes):
    child = Path(__file__).with_name("replicas_child.py")
    done = subprocess.run(
        [sys.executable, "-m", f"tests.model.{child.stem}", json.dumps(changes)],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=child.parents[2],
    )
    assert done.returncode == 0, done.stderr
    by_strategy, in_turn, resumed = json.loads(done.stdout)
    assert by_strategy == in_turn == resumed


def test_on_cpus_only_errors_of_a_lost_worker_are_explained():
    lost, other = (kind(None, None, "x") for kind in (tf.errors.UnavailableError, tf.errors.InvalidArgumentError))
    assert isinstance(explain(lost, config(num_replicas=2), "CPU:0, CPU:1"), EngineFailed)
    assert explain(lost, config(), "CPU:0") is None
    assert explain(other, config(num_replicas=2), "CPU:0, CPU:1") is None


def test_what_a_gpu_fails_at_is_told_in_one_line():
    problem = tf.errors.ResourceExhaustedError(None, None, "Out of memory while trying to allocate 8 GiB.\nMore.")
    told = explain(problem, config(), "GPU:1")
    assert isinstance(told, EngineFailed)
    assert str(told).startswith(
        "GPU:1: TensorFlow cannot compute on it: Out of memory while trying to allocate 8 GiB.; "
    )
    assert "More" not in str(told)
