"""Parameters after 100 steps are pinned, so that a change of anything that decides them is noticed.

XLA compiles for the processor that it finds, whose vector width decides the order of sums. So the digest is compared
only on the kind of processor that it was taken on. Some numbers are compared everywhere, with a tolerance for rounding
over 100 steps at low rates. A failing test shows the new values; if the change is intended, raise
`model.random_streams.STREAMS_VERSION` or the version of the package.
"""

import hashlib
import platform
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from model.order import mix64
from model.recipes import RECIPES, override
from model.training import compile_chunk, start_state

CONFIGS = {
    "manual": {"step": "manual", "weights_rate": 0.5},
    "autodiff": {"step": "autodiff", "weights_rate": 0.5},
    "dropout, momentum, decay and cosine": {"step": "manual", "layers": (20, 16, 9, 3), "activation": "relu"}
    | {"output": "softmax", "loss": "cross-entropy", "start": "he", "momentum": 0.9, "weight_decay": 1e-3}
    | {"dropout": 0.25, "weights_rate": 0.02, "biases_rate": 0.02, "schedule": "cosine"},
}
PROCESSOR = "a2c7ab7acb2969d4, TensorFlow 2.21.0"  # that the digests were taken on, and the version of TensorFlow
DIGESTS = {
    "manual": "0a00b63d36e6b3c796a18c680486d8607b8ce01d16b86633e80e85a69c33e306",
    "autodiff": "a0042355aeb6dbf1a73bd76b361ee6763e06a9481a7ca6b6c889c7624a097036",
    "dropout, momentum, decay and cosine": "1665be377e0905e1e791847a7b4aca14c4e2c26efdd21763def2cb83e3818ab3",
}
ARTICLE = "1.4388826 -0.8720005 -1.554564 -0.3851105 -0.0382965 -0.1940588 -0.0240247 -0.0116777 -0.3919156 -0.4393739"
MODERN = "0.2351433 -0.0136927 -0.362971 -0.3048362 -0.1068682 0.0479626 -0.1303179 0.2294804 -0.5760864 -0.1344113"
# ten numbers from all layers, and the norm of all parameters
NUMBERS = {
    "manual": f"{ARTICLE} 14.531296",
    "autodiff": f"{ARTICLE} 14.531296",
    "dropout, momentum, decay and cosine": f"{MODERN} 7.4165356",
}


def processor():
    """The compilation target of XLA: family and model of the processor, and its vector instructions."""
    cpuinfo = Path("/proc/cpuinfo")
    fields = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", cpuinfo.read_text(), re.MULTILINE)) if cpuinfo.exists() else {}
    vectors = sorted(flag for flag in fields.get("flags", "").split() if flag.startswith(("avx", "fma", "amx")))
    named = [platform.machine(), *(fields.get(name, "") for name in ("vendor_id", "cpu family", "model")), *vectors]
    return f"{hashlib.sha256(' '.join(named).encode()).hexdigest()[:16]}, TensorFlow {tf.__version__}"


def train(name):
    """The parameters, float32[n], after 100 steps on images drawn by mix64, whose numbers depend on no library."""
    config = override(RECIPES["article-manual"].config, **{"layers": (20, 12, 3), "num_steps": 100} | CONFIGS[name])
    images = (mix64(np.arange(100 * 10 * 20, dtype=np.uint64)) >> np.uint64(56)).astype(np.uint8).reshape(100, 10, 20)
    labels = (images[:, :, 0] // 86).astype(np.int32)
    state, _ = compile_chunk(config)(start_state(config), images, labels)
    assert int(state.step) == 100
    return np.concatenate([np.ravel(part) for part in tf.nest.flatten(state.parameters)])


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_after_100_steps_are_pinned(name):
    parameters = train(name)
    found = [*parameters[:: len(parameters) // 9][:10], np.linalg.norm(parameters.astype(np.float64))]
    np.testing.assert_allclose(found, np.array(NUMBERS[name].split(), float), rtol=1e-4, atol=1e-4)
    if processor() == PROCESSOR:
        assert hashlib.sha256(parameters.astype("<f4").tobytes()).hexdigest() == DIGESTS[name]
