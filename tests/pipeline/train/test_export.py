"""`backbeam export`, and programs without backbeam that read what it writes."""

import gzip
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from model.checkpoint import decode_parameters
from model.network import build_network, predict
from pipeline.sources.catalog import EMBEDDED
from pipeline.train.run_record import load_run
from tests.helpers import contents, run_in_process

# Absolute, for outputs between 0 and 1, against the uncompiled forward pass: other programs may sum the 784 products in
# another order. Measured for the 1,000 digits of this run: TensorFlow 9.5e-7, XLA 3.3e-6, NumPy 2.5e-6.
TOLERANCE = 1e-5

# a user's program: it has TensorFlow and the exported folder, but not backbeam
CONSUMER = """
import sys
sys.modules |= dict.fromkeys(("keras", "model", "pipeline"))  # importing any of these raises ImportError now
import numpy as np
import tensorflow as tf

folder, images, target = sys.argv[1:]
images = np.load(images)
model = tf.saved_model.load(folder)
serve = model.signatures["serving_default"]
compiled = tf.function(lambda x: serve(images=x), jit_compile=True)
outputs = {}
for name, run in (("plain", lambda x: serve(images=x)), ("xla", compiled)):
    for key, value in run(tf.constant(images)).items():
        outputs[f"{name}-{key}"] = value.numpy()
np.savez(target, **outputs)
"""


@pytest.fixture(scope="module")
def exported(digits_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "new" / "folder"
    done = run_in_process("export", "--to", folder, "--workspace", digits_run, "--json")
    assert done.code == 0, done.err
    assert done.json["path"] == str(folder)
    return folder


@pytest.fixture(scope="module")
def images():
    data = gzip.decompress((EMBEDDED / "mnist-5k" / "t10k-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(data[16:], np.uint8).reshape(-1, 28, 28)


@pytest.fixture(scope="module")
def expected(digits_run, images):
    """The outputs of the forward pass in model/."""
    [folder] = (digits_run / "runs").iterdir()
    run = load_run(folder)
    network = build_network(run.config.activation, run.config.output, run.config.loss)
    return predict(network, decode_parameters(run.parameters.read(folder)), images.reshape(len(images), -1)).numpy()


def test_export_writes_a_saved_model_the_parameters_and_a_description(exported, digits_run):
    assert sorted(path.name for path in exported.iterdir()) == ["model.json", "parameters.safetensors", "saved_model"]
    [run] = (digits_run / "runs").iterdir()
    data = (exported / "parameters.safetensors").read_bytes()
    assert data == (run / "parameters.safetensors").read_bytes()
    about = json.loads((exported / "model.json").read_bytes())
    assert about["parameters"] == {
        "name": "parameters.safetensors",
        "num_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    assert about["origin"]["run_id"] == run.name
    assert about["origin"]["run_digest"] == hashlib.sha256((run / "run.json").read_bytes()).hexdigest()
    assert about["class_names"] == list("0123456789")
    assert [path.name for path in exported.parent.iterdir()] == ["folder"]


@pytest.mark.thorough
def test_saved_model_gives_the_same_outputs_in_plain_tensorflow(exported, images, expected, tmp_path):
    np.save(tmp_path / "images.npy", images)
    arguments = [exported / "saved_model", tmp_path / "images.npy", tmp_path / "outputs.npz"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", CONSUMER, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    saved = np.load(tmp_path / "outputs.npz")
    for name in ("plain", "xla"):
        np.testing.assert_allclose(saved[f"{name}-probabilities"], expected, rtol=0, atol=TOLERANCE)
        assert np.array_equal(saved[f"{name}-class"], expected.argmax(axis=1))


def test_parameters_give_the_same_outputs_in_plain_numpy(exported, images, expected):
    """The forward pass as model.json describes it."""
    about = json.loads((exported / "model.json").read_bytes())
    tensors = load_file(exported / "parameters.safetensors")
    assert (about["activation"], about["output"]) == ("sigmoid", "sigmoid")
    a = images.reshape(len(images), -1).astype(np.float32) / about["image"]["divide_by"]
    for i in range(len(about["layers"]) - 1):
        a = 1 / (1 + np.exp(-(a @ tensors[f"layers.{i}.weights"].T + tensors[f"layers.{i}.biases"])))
    assert a.dtype == np.float32
    np.testing.assert_allclose(a, expected, rtol=0, atol=TOLERANCE)
    assert np.array_equal(a.argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, Path.touch, lambda target: target.symlink_to("nowhere")],
    ids=["folder", "file", "dangling link"],
)
def test_existing_target_is_rejected_and_not_changed(make, digits_run, tmp_path):
    target = tmp_path / "target"
    make(target)
    before = contents(tmp_path)
    done = run_in_process("export", "--to", target, "--workspace", digits_run)
    assert (done.code, done.out) == (2, "")
    assert f"{target} exists" in done.err
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
