"""Forged workspaces with right digests: impossible contents are rejected."""

import json
import shutil
import struct

import numpy as np
import pytest

from model.checkpoint import encode_parameters
from model.examples import Examples, decode, encode
from model.network import Layer
from pipeline.storage.files import digest_of
from tests.helpers import Digits, run_in_process
from tests.hostile.forging import forge, forge_file, forge_manifest

PREDICT = ("predict", "digits/t10k-images-idx3-ubyte")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forged")
    Digits().write(folder / "digits")
    done = run_in_process("run", "--workspace", folder / "ws", "--dataset", folder / "digits", "--num-steps", 20)
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def workspace(original, tmp_path, monkeypatch):
    for name in ("digits", "ws"):
        shutil.copytree(original / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "ws"


def build_parameters(*sizes, dtype=np.float32):
    layers = zip(sizes[1:], sizes, strict=False)
    return tuple(Layer(np.ones((outputs, inputs), dtype), np.ones(outputs, dtype)) for outputs, inputs in layers)


def check_rejected(message, *command):
    done = run_in_process(*command, "--workspace", "ws")
    assert done.code == 4, done.err
    assert message in done.err


@pytest.mark.parametrize(
    "parameters",
    [build_parameters(20, 5, 3), build_parameters(784, 30, 10), build_parameters(20, 30, 3, dtype=np.float64)],
)
def test_parameters_of_another_shape_or_dtype_are_rejected(parameters, workspace):
    [folder] = workspace.glob("runs/*")
    data = encode_parameters(parameters, {})
    forge_file(folder / "run.json", lambda record: record["parameters"], folder / "parameters.safetensors", data)
    check_rejected("expected (20, 30, 3) in float32", *PREDICT)


@pytest.mark.parametrize("name", ["BF16", "F8_E4M3"])
def test_tensors_of_unsupported_dtypes_are_rejected(name, workspace):
    [folder] = workspace.glob("runs/*")
    header = json.dumps({"a": {"dtype": name, "shape": [1], "data_offsets": [0, 2 if name == "BF16" else 1]}}).encode()
    data = struct.pack("<Q", len(header)) + header + bytes(2 if name == "BF16" else 1)
    forge_file(folder / "run.json", lambda record: record["parameters"], folder / "parameters.safetensors", data)
    check_rejected("parameters.safetensors", "export", "--to", "out")


def test_a_run_with_another_number_of_classes_than_its_data_set_is_rejected(workspace):
    [record] = workspace.glob("runs/*/run.json")
    forge(record, lambda content: content["config"].update(layers=[20, 30, 4]))
    check_rejected("needs (20, 3)", *PREDICT)


def test_impossibly_large_images_are_rejected(workspace):
    forge_manifest(workspace, lambda content: content.update(height=2**40))
    check_rejected("at most 16777216", *PREDICT)


def test_a_data_set_without_a_train_split_is_rejected(workspace):
    [record] = workspace.glob("datasets/*/manifest.json")
    forge(record, lambda content: content["splits"].pop("train"))
    check_rejected("expected the splits train and test", "train")


@pytest.mark.parametrize("command", ["train", "evaluate"])
@pytest.mark.parametrize("label", [3, 2**62])
def test_labels_out_of_range_are_rejected(label, command, workspace):
    [shard] = workspace.glob("datasets/*/train-*.tfrecord")
    examples = decode(shard.read_bytes(), 20)
    examples.labels[0] = label
    data = encode(Examples(*examples))

    def change(content):
        shard_info = content["splits"]["train"]["shards"][0]
        shard_info.update(num_bytes=len(data), sha256=digest_of(data))

    shard.write_bytes(data)
    forge_manifest(workspace, change)
    [evaluation] = workspace.glob("runs/*/evaluation.json")
    evaluation.unlink()
    more = ("--num-steps", 30) if command == "train" else ()
    check_rejected(f"the label {label}" if command == "evaluate" else "", command, *more)
    check_rejected(f"found {label}", "verify")


@pytest.mark.parametrize("data", [b"PAR1", b"", b"[" * 10**5])
def test_files_that_are_no_tables_are_rejected(data, workspace):
    [record] = workspace.glob("runs/*/evaluation.json")
    [table] = workspace.glob("reports/classes/*/*.parquet")
    number = next(i for i, file in enumerate(json.loads(record.read_bytes())["tables"]) if file["table"] == "classes")
    forge_file(record, lambda content: content["tables"][number], table, data)
    check_rejected("cannot be read", "show")
    check_rejected("cannot be read", "report")


def test_slicings_that_only_a_record_names_are_not_imported(workspace):
    """A record can name any function of any module; it is imported only if the user names it too."""
    [record] = workspace.glob("runs/*/evaluation.json")
    forge(record, lambda content: content["slicings"].update(mine="antigravity:geohash"))
    done = run_in_process("reproduce", "--workspace", "ws")
    assert (done.code, "--slice mine=antigravity:geohash" in done.err) == (2, True), done.err
    [table] = workspace.glob("reports/slices/*/*.parquet")
    table.unlink()
    done = run_in_process("verify", "--repair", "--workspace", "ws")
    assert done.code != 0
    assert "--slice mine=antigravity:geohash" in done.err
