"""Validation by the command: each check fails on data with its fault, and no other check does."""

import hashlib
import shlex

import duckdb
import numpy as np
import pytest
from PIL import Image

from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.shards import summarize_shards
from pipeline.preprocess.validation import compute_values
from pipeline.preprocess.validation_checks import CheckValue, FlaggedExamples
from pipeline.sources.catalog import FILE_NAMES
from tests.helpers import Digits, backbeam, contents, images_bytes, labels_bytes, write_files
from tests.pipeline.preprocess.test_shards import dataset_of

NUM_TRAIN = 60
NUM_TEST = 20


def sound_arrays():
    """Train images, train labels, test images, test labels that pass every check."""
    return [*Digits().split(0, NUM_TRAIN), *Digits().split(1, NUM_TEST)]


def write(folder, arrays):
    images, labels, test_images, test_labels = arrays
    parts = (images_bytes(images), labels_bytes(labels), images_bytes(test_images), labels_bytes(test_labels))
    return write_files(folder, dict(zip(FILE_NAMES, parts, strict=True)))


def arrays_with_fault(check):
    arrays = sound_arrays()
    train, train_labels, test, test_labels = arrays
    if check == "missing_classes":
        test_labels[test_labels == 2] = 0
    elif check == "class_balance":
        train_labels[:] = 0
        train_labels[:2] = 1, 2
    elif check == "constant_images":
        train[7] = 9
    elif check == "duplicates":
        train[9] = train[3]  # both of class 0
    elif check == "conflicting_labels":
        train[4] = train[3]  # classes 1 and 0
    elif check == "test_in_train":
        test[[5, 8]] = train[[11, 14]]
    return arrays


# check: split, value, indices of the listed examples and of their twins
FAILING = {
    "missing_classes": ("test", 1.0, [], []),
    "class_balance": ("train", 1 / 58, [], []),
    "constant_images": ("train", 1 / 60, [7], []),
    "duplicates": ("train", 1 / 60, [9], [3]),
    "conflicting_labels": ("train", 1 / 60, [4], [3]),
    "test_in_train": ("test", 2 / 20, [5, 8], [11, 14]),
}
IMPLIED = {"conflicting_labels": {"duplicates"}}


def configuration(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize("check", FAILING)
@pytest.mark.thorough
def test_check_fails_on_data_with_its_fault(check, tmp_path):
    split, value, indices, twins = FAILING[check]
    folder = write(tmp_path / "made", arrays_with_fault(check))
    workspace = tmp_path / "ws"
    severities = "".join(f'[validation.{name}]\nseverity = "error"\n' for name in FAILING)
    config = configuration(tmp_path / "all.toml", severities)
    done = backbeam("run", "--workspace", workspace, "--dataset", folder, "--config", config, "--num-shards", 3)
    assert done.code == 3, done.err
    assert done.out == ""
    assert f"{check}, split {split}: {value:.4g}" in done.err
    assert f"[validation.{check}]" in done.err
    assert not (workspace / "runs").exists()
    rows = table(workspace)
    assert {row[0] for row in rows if row[3] != "passed"} == {check} | IMPLIED.get(check, set())
    [row] = [row for row in rows if row[:2] == (check, split)]
    assert row[2] == pytest.approx(value)
    assert row[3:] == ("error", len(indices), indices, twins)


def table(workspace, partition="*"):
    select = 'SELECT "check", split, value, outcome, num_examples, indices, twin_indices'
    return duckdb.sql(f"{select} FROM '{workspace}/reports/validation/{partition}/*.parquet'").fetchall()


@pytest.fixture
def leaking(tmp_path):
    return write(tmp_path / "made", arrays_with_fault("test_in_train"))


def test_command_in_the_error_shows_the_examples(leaking, tmp_path):
    workspace = tmp_path / "work space"
    done = backbeam("preprocess", "--workspace", workspace, "--dataset", leaking)
    assert done.code == 3  # 10 % is an error by default
    [line] = [line for line in done.err.splitlines() if "look: " in line]
    command = shlex.split(line.partition("look: ")[2])
    assert command[-4:] == ["--examples", "test:5,8", "--examples", "train:11,14"]
    shown = backbeam(*command[1:], "--json").json
    named = [(example["split"], example["index"]) for example in shown["examples"]]
    assert named == [("test", 5), ("test", 8), ("train", 11), ("train", 14)]
    with Image.open(shown["sheet"]) as sheet:
        assert sheet.format == "PNG"
    assert not shown["validation"]["passed"]


@pytest.mark.thorough
def test_failure_is_kept_until_the_threshold_changes(leaking, tmp_path):
    arguments = ("--workspace", tmp_path / "ws", "--dataset", leaking, "--num-steps", 20)
    assert backbeam("run", *arguments).code == 3
    before = contents(tmp_path / "ws")
    again = backbeam("run", *arguments)
    assert (again.code, again.err.count("already done")) == (3, 2)
    assert contents(tmp_path / "ws") == before
    lax = configuration(tmp_path / "lax.toml", "[validation.test_in_train]\nthreshold = 0.2\nwarning_threshold = 0\n")
    done = backbeam("run", *arguments, "--config", lax, "--json")
    assert done.code == 0, done.err
    assert done.err.count("warning: test_in_train, split test: 0.1 (2 examples), expected at most 0:") == 1
    assert (done.json["validation"]["passed"], done.json["validation"]["num_warnings"]) == (True, 1)
    assert done.json["skipped"] == ["preprocess"]
    again = backbeam("run", *arguments, "--config", lax, "--json").json
    assert again["skipped"] == ["preprocess", "validate", "train", "evaluate"]
    assert again["validation"] == done.json["validation"]


@pytest.mark.thorough
def test_disabled_check_is_left_out(leaking, tmp_path):
    off = configuration(tmp_path / "off.toml", '[validation.test_in_train]\nseverity = "off"\n')
    assert backbeam("preprocess", "--workspace", tmp_path / "ws", "--dataset", leaking, "--config", off).code == 0
    assert {row[0] for row in table(tmp_path / "ws")} == set(FAILING) - {"test_in_train"} | {
        "schema",
        "rejected",
        "rejected_of_class",
        "pixel_range",
    }


@pytest.mark.thorough
def test_drift_from_a_baseline_fails(tmp_path):
    workspace = tmp_path / "ws"
    before = sound_arrays()
    brighter = sound_arrays()
    flatter = sound_arrays()
    skewed = sound_arrays()
    for number in (0, 2):
        pixels = before[number].astype(float)
        brighter[number] = np.minimum(pixels + 40, 255)
        flatter[number] = (pixels - pixels.mean()) * 0.7 + pixels.mean()
        skewed[number + 1][::2] = 0
    assert backbeam("preprocess", "--workspace", workspace, "--dataset", write(tmp_path / "before", before)).code == 0
    same = backbeam("validate", "before", "--workspace", workspace, "--baseline", "before", "--json")
    assert (same.code, same.json["validation"]["num_warnings"]) == (0, 0)
    drifted = (("brighter", brighter, "pixel_mean_drift"), ("flatter", flatter, "pixel_std_drift"))
    for name, arrays, check in (*drifted, ("skewed", skewed, "class_drift")):
        made = write(tmp_path / name, arrays)
        done = backbeam("preprocess", "--workspace", workspace, "--dataset", made, "--baseline", "before")
        assert done.code == 3, done.out
        failed = sorted(row[:2] for row in table(workspace, f"dataset={name}-*") if row[3] == "error")
        assert failed == [(check, "test"), (check, "train")]
    assert backbeam("validate", "before", "--workspace", workspace, "--baseline", "none").code == 2


def compute(folder, manifest):
    return {(each.check, each.split): each for each in compute_values(Dataset(folder, manifest, "0" * 64), None)}


def test_label_out_of_range_is_broken(tmp_path):
    folder, manifest, _ = dataset_of(tmp_path, [0, 3, 1])
    assert compute(folder, manifest)["schema", "test"].flagged == FlaggedExamples(1, ((1, -1),))


def test_all_examples_of_an_undecodable_shard_are_broken(tmp_path):
    """The file has the digest of the manifest but is cut off inside a record."""
    folder, manifest, info = dataset_of(tmp_path, [0, 1, 2, 1])
    torn = (folder / info.name).read_bytes()[:-20]
    (folder / "torn").write_bytes(torn)
    fields = {"name": "torn", "num_bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}
    splits = manifest.splits | {"test": summarize_shards((info.model_copy(update=fields),), manifest.num_pixels)}
    found = compute(folder, manifest.model_copy(update={"splits": splits}))
    assert found["schema", "test"] == CheckValue("schema", "test", 1.0, FlaggedExamples(4))
    assert found["test_in_train", "test"].value == 0.0


@pytest.mark.thorough
def test_corrupt_shard_record_or_table_is_detected(tmp_path, digits_folder):
    workspace = tmp_path / "ws"
    assert backbeam("preprocess", "--workspace", workspace, "--dataset", digits_folder).code == 0
    [shard] = (workspace / "datasets").glob("*/test-*")
    [record] = (workspace / "datasets").glob("*/validation.json")
    [rows] = (workspace / "reports" / "validation").rglob("*.parquet")
    for path in (shard, record, rows):
        data = path.read_bytes()
        path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
        done = backbeam("validate", "--workspace", workspace)
        assert (done.code, path.name in done.err) == (4, True)
        path.write_bytes(data)
    assert backbeam("validate", "--workspace", workspace, "--json").json["skipped"] == ["validate"]


@pytest.mark.thorough
def test_canonical_mnist_has_no_duplicates(mnist_folder, tmp_path):
    arguments = ("--workspace", tmp_path / "ws", "--dataset", "mnist", "--data-dir", mnist_folder, "--json")
    found = backbeam("preprocess", *arguments).json["validation"]
    assert (found["passed"], found["num_warnings"]) == (True, 0)
    assert [row["num_examples"] for row in found["results"]] == [0] * len(found["results"])
    balance = {row["split"]: row["value"] for row in found["results"] if row["check"] == "class_balance"}
    assert balance == {"train": 5421 / 6742, "test": 892 / 1135}


def test_invalid_configuration_is_rejected_before_any_work(tmp_path):
    bad = configuration(tmp_path / "v.toml", "[validation.duplicate]\n")
    done = backbeam("preprocess", "--workspace", tmp_path / "ws", "--config", bad)
    assert (done.code, "did you mean 'duplicates'" in done.err) == (2, True)
    assert not (tmp_path / "ws").exists()
