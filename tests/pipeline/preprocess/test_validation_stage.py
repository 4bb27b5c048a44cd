"""Validation of small data sets, without processes."""

import hashlib

from pipeline.preprocess.manifest import ShardInfo
from pipeline.preprocess.shards import summarize_shards
from pipeline.preprocess.validation import ValidatedDataset, apply_check, examine, examine_shards
from pipeline.preprocess.validation_checks import CheckFinding
from pipeline.preprocess.validation_config import CHECKS, CheckSettings
from tests.pipeline.preprocess.test_shards import dataset_of


def findings(folder, manifest):
    found = examine_shards(ValidatedDataset(folder, manifest, "0" * 64), None)
    return {(finding.check, finding.split): finding for finding in found}


def test_all_examples_of_an_undecodable_shard_are_broken(tmp_path):
    """The file has the digest of the manifest but is cut off inside a record."""
    folder, manifest, info = dataset_of(tmp_path, [0, 1, 2, 1])
    torn = (folder / info.name).read_bytes()[:-20]
    name = "test-00000-of-00001.tfrecord"
    (folder / name).write_bytes(torn)
    fields = {"name": name, "num_bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}
    broken = ShardInfo.model_validate(info.model_dump() | fields)
    splits = manifest.splits | {"test": summarize_shards((broken,), manifest.num_pixels)}
    found = findings(folder, manifest.model_copy(update={"splits": splits}))
    schema = found["schema", "test"]
    assert (schema.value, schema.num_examples, schema.indices) == (1.0, 4, [])
    assert found["test_in_train", "test"].num_examples == 0


def test_equal_images_are_found_across_splits(tmp_path):
    folder, manifest, _ = dataset_of(tmp_path, [0, 0, 0])  # the test split is the train split
    found = findings(folder, manifest)
    assert (found["test_in_train", "test"].value, found["test_in_train", "test"].indices) == (1.0, [0, 1, 2])
    assert found["test_in_train", "test"].twin_indices == [0, 1, 2]
    assert found["duplicates", "train"].num_examples == 0


def test_value_is_compared_with_its_thresholds():
    found = CheckFinding("duplicates", "train", 0.25)
    for threshold, outcome in ((0.25, "passed"), (0.24, "error")):
        settings = CheckSettings(severity="error", threshold=threshold, warning_threshold=threshold)
        result = apply_check(found, settings)
        assert (result.passed, result.outcome) == (outcome == "passed", outcome)
    low = apply_check(
        CheckFinding("class_balance", "train", 0.25),
        CheckSettings(severity="error", threshold=0.25, warning_threshold=0.3),
    )
    assert (low.passed, low.outcome) == (True, "warning")


def test_disabled_check_has_no_result(tmp_path):
    folder, manifest, _ = dataset_of(tmp_path, [0, 1, 2])
    settings = {name: check.defaults for name, check in CHECKS.items()}
    settings["duplicates"] = settings["duplicates"].model_copy(update={"severity": "off"})
    record = examine(tmp_path / "ws", ValidatedDataset(folder, manifest, "0" * 64), settings, None)
    checks = {result.check for result in record.results}
    assert "schema" in checks
    assert "duplicates" not in checks
