"""Forged workspaces whose digests are all right: what they hold is refused all the same where it cannot be."""

import json
import shutil
import struct

import numpy as np
import pytest

from model.checkpoint import encode_parameters
from model.examples import Examples, decode, encode
from model.network import Layer
from pipeline.storage.files import digest_of
from tests.helpers import Digits, backbeam
from tests.hostile.forging import forge, forge_file, forge_manifest

PREDICT = ("predict", "digits/t10k-images-idx3-ubyte")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forged")
    Digits().write(folder / "digits")
    done = backbeam("run", "--workspace", folder / "ws", "--dataset", folder / "digits", "--num-steps", 20)
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def workspace(made, tmp_path, monkeypatch):
    for name in ("digits", "ws"):
        shutil.copytree(made / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "ws"


def network(*sizes, kind=np.float32):
    layers = zip(sizes[1:], sizes, strict=False)
    return tuple(Layer(np.ones((outputs, inputs), kind), np.ones(outputs, kind)) for outputs, inputs in layers)


def refused(message, *command):
    done = backbeam(*command, "--workspace", "ws")
    assert done.code == 4, done.err
    assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("parameters", [network(20, 5, 3), network(784, 30, 10), network(20, 30, 3, kind=np.float64)])
def test_a_model_of_another_shape(parameters, workspace):
    [folder] = workspace.glob("runs/*")
    data = encode_parameters(parameters, {})
    forge_file(folder / "run.json", lambda record: record["parameters"], folder / "parameters.safetensors", data)
    refused("expected (20, 30, 3) in float32", *PREDICT)


@pytest.mark.parametrize("name", ["BF16", "F8_E4M3"])
def test_tensors_that_are_no_arrays(name, workspace):
    [folder] = workspace.glob("runs/*")
    header = json.dumps({"a": {"dtype": name, "shape": [1], "data_offsets": [0, 2 if name == "BF16" else 1]}}).encode()
    data = struct.pack("<Q", len(header)) + header + bytes(2 if name == "BF16" else 1)
    forge_file(folder / "run.json", lambda record: record["parameters"], folder / "parameters.safetensors", data)
    refused("parameters.safetensors", "export", "--to", "out")


def test_a_run_that_does_not_fit_its_data(workspace):
    [record] = workspace.glob("runs/*/run.json")
    forge(record, lambda content: content["config"].update(layers=[20, 30, 4]))
    refused("needs (20, 3)", *PREDICT)


def test_images_too_large_to_be_true(workspace):
    forge_manifest(workspace, lambda content: content.update(height=2**40))
    refused("at most 16777216", *PREDICT)


def test_a_data_set_without_its_train_split(workspace):
    [record] = workspace.glob("datasets/*/manifest.json")
    forge(record, lambda content: content["splits"].pop("train"))
    refused("expected the splits train and test", "train")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "evaluate"])
@pytest.mark.parametrize("label", [3, 2**62])
def test_labels_that_are_no_class(label, command, workspace):
    [shard] = workspace.glob("datasets/*/train-*.tfrecord")
    examples = decode(shard.read_bytes(), 20)
    examples.labels[0] = label
    data = encode(Examples(*examples))

    def change(content):
        about = content["splits"]["train"]["shards"][0]
        about.update(num_bytes=len(data), sha256=digest_of(data))

    shard.write_bytes(data)
    forge_manifest(workspace, change)
    [evaluation] = workspace.glob("runs/*/evaluation.json")
    evaluation.unlink()
    more = ("--num-steps", 30) if command == "train" else ()
    refused(f"the label {label}" if command == "evaluate" else "", command, *more)
    refused(f"found {label}", "verify")


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"PAR1", b"", b"[" * 10**5])
def test_tables_that_are_none(data, workspace):
    [record] = workspace.glob("runs/*/evaluation.json")
    [table] = workspace.glob("reports/classes/*/*.parquet")
    number = next(i for i, each in enumerate(json.loads(record.read_bytes())["tables"]) if each["table"] == "classes")
    forge_file(record, lambda content: content["tables"][number], table, data)
    refused("cannot be read", "show")
    refused("cannot be read", "report")


def test_slicings_that_only_a_record_names_are_not_imported(workspace):
    """A record may name any function of any module: it is called only if the user names it too."""
    [record] = workspace.glob("runs/*/evaluation.json")
    forge(record, lambda content: content["slicings"].update(mine="antigravity:geohash"))
    done = backbeam("reproduce", "--workspace", "ws")
    assert (done.code, "--slice mine=antigravity:geohash" in done.err) == (2, True), done.err
    [table] = workspace.glob("reports/slices/*/*.parquet")
    table.unlink()
    done = backbeam("verify", "--repair", "--workspace", "ws")
    assert done.code != 0
    assert "--slice mine=antigravity:geohash" in done.err
