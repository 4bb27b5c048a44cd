"""Validation by the command: each check fails on data with its fault, and no other check does."""

import hashlib

import duckdb
import pytest

from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.shards import summarize_shards
from pipeline.preprocess.validation import compute_values, flag_examples
from pipeline.preprocess.validation_checks import CheckValue, FlaggedExamples
from pipeline.sources.catalog import FILE_NAMES
from tests.helpers import Digits, contents, images_bytes, labels_bytes, run_in_process, write_files
from tests.pipeline.preprocess.test_shards import dataset_of


def sound_arrays():
    """Train images, train labels, test images, test labels that pass every check."""
    return [*Digits().split(0, 60), *Digits().split(1, 20)]


def write(folder, arrays):
    parts = [images_bytes(each) if each.ndim > 1 else labels_bytes(each) for each in arrays]
    return write_files(folder, dict(zip(FILE_NAMES, parts, strict=True)))


def arrays_with_fault(check):
    arrays = sound_arrays()
    train, _, test, _ = arrays
    match check:
        case "constant_images":
            train[7] = 9
        case "duplicates":
            train[9] = train[3]  # both of class 0
        case "conflicting_labels":
            train[4] = train[3]  # classes 1 and 0
        case "test_in_train":
            test[[5, 8]] = train[[11, 14]]
    return arrays


# check: split, value, indices of the listed examples and of their twins
FAILING = {
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
def test_check_fails_on_data_with_its_fault(check, tmp_path):
    split, value, indices, twins = FAILING[check]
    folder = write(tmp_path / "made", arrays_with_fault(check))
    workspace = tmp_path / "ws"
    severities = "".join(f'[validation.{name}]\nseverity = "error"\n' for name in FAILING)
    config = configuration(tmp_path / "all.toml", severities)
    done = run_in_process("run", "--workspace", workspace, "--dataset", folder, "--config", config, "--num-shards", 3)
    assert (done.code, done.out) == (3, ""), done.err
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


def test_failure_is_kept_until_the_threshold_changes(leaking, tmp_path):
    arguments = ("run", "--workspace", tmp_path / "ws", "--dataset", leaking, "--num-steps", 20, "--json")
    assert run_in_process(*arguments).code == 3
    before = contents(tmp_path / "ws")
    again = run_in_process(*arguments)
    assert (again.code, again.err.count("already done")) == (3, 2)
    assert contents(tmp_path / "ws") == before
    lax = configuration(tmp_path / "lax.toml", "[validation.test_in_train]\nthreshold = 0.2\nwarning_threshold = 0\n")
    done = run_in_process(*arguments, "--config", lax)
    assert done.err.count("warning: test_in_train, split test: 0.1 (2 examples), expected at most 0:") == 1
    assert (done.json["validation"]["passed"], done.json["validation"]["num_warnings"]) == (True, 1)
    assert done.json["skipped"] == ["preprocess"]
    again = run_in_process(*arguments, "--config", lax).json
    assert again["skipped"] == ["preprocess", "validate", "train", "evaluate"]
    assert again["validation"] == done.json["validation"]


def test_disabled_check_is_left_out(leaking, tmp_path):
    off = configuration(tmp_path / "off.toml", '[validation.test_in_train]\nseverity = "off"\n')
    assert run_in_process("preprocess", "--workspace", tmp_path / "ws", "--dataset", leaking, "--config", off).code == 0
    names = {"schema", "missing_classes", "class_balance", "rejected", "rejected_of_class", "pixel_range", *FAILING}
    assert {row[0] for row in table(tmp_path / "ws")} == names - {"test_in_train"}


def test_drift_from_a_baseline_fails(tmp_path):
    before = sound_arrays()
    skewed = sound_arrays()
    for number in (1, 3):
        skewed[number][::2] = 0
    place = ("--workspace", tmp_path / "ws")
    assert run_in_process("preprocess", *place, "--dataset", write(tmp_path / "before", before)).code == 0
    same = run_in_process("validate", "before", *place, "--baseline", "before", "--json")
    assert (same.code, same.json["validation"]["num_warnings"]) == (0, 0)
    made = write(tmp_path / "skewed", skewed)
    assert run_in_process("preprocess", *place, "--dataset", made, "--baseline", "before").code == 3
    failed = sorted(row[:2] for row in table(tmp_path / "ws", "dataset=skewed-*") if row[3] == "error")
    assert failed == [("class_drift", "test"), ("class_drift", "train")]
    assert run_in_process("validate", "before", *place, "--baseline", "none").code == 2


def compute(folder, manifest):
    return {
        (each.check, each.split): each
        for each in compute_values(Dataset(folder, manifest, "0" * 64), None, flag_examples)
    }


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


def test_corrupt_shard_record_or_table_is_detected(tmp_path, digits_folder):
    workspace = tmp_path / "ws"
    assert run_in_process("preprocess", "--workspace", workspace, "--dataset", digits_folder).code == 0
    for pattern in ("datasets/*/test-*", "datasets/*/validation.json", "reports/validation/*/*.parquet"):
        [path] = workspace.glob(pattern)
        data = path.read_bytes()
        path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
        done = run_in_process("validate", "--workspace", workspace)
        assert (done.code, path.name in done.err) == (4, True)
        path.write_bytes(data)
    assert run_in_process("validate", "--workspace", workspace, "--json").json["skipped"] == ["validate"]


@pytest.mark.thorough
def test_canonical_mnist_has_no_duplicates(mnist_folder, tmp_path):
    arguments = ("--workspace", tmp_path / "ws", "--dataset", "mnist", "--data-dir", mnist_folder, "--json")
    found = run_in_process("preprocess", *arguments).json["validation"]
    assert (found["passed"], found["num_warnings"]) == (True, 0)
    assert [row["num_examples"] for row in found["results"]] == [0] * len(found["results"])
