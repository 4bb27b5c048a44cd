"""Settings and outcomes of checks, and the validation record, without a data set."""

from dataclasses import replace
from math import inf, nan

import pytest
from pydantic import ValidationError

from model.errors import BadInput, BadUsage, CorruptArtefact
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.validation_config import (
    CHECKS,
    CheckResult,
    CheckSettings,
    ValidationRecord,
    find_validation,
    load_validation,
    require_passed,
    resolve_checks,
)
from pipeline.storage.records import FileInfo

DEFAULTS = {
    "schema": ("error", 0.0, 0.0),
    "missing_classes": ("warning", 0.0, 0.0),
    "class_balance": ("warning", 0.1, 0.1),
    "constant_images": ("warning", 0.0, 0.0),
    "rejected": ("error", 0.1, 0.01),
    "rejected_of_class": ("error", 0.1, 0.01),
    "pixel_range": ("warning", 32.0, 32.0),
    "duplicates": ("warning", 0.0, 0.0),
    "conflicting_labels": ("error", 0.01, 0.0),
    "test_in_train": ("error", 0.01, 0.0),
    "class_drift": ("error", 0.2, 0.1),
    "pixel_mean_drift": ("error", 0.2, 0.1),
    "pixel_std_drift": ("error", 0.2, 0.1),
}


def result(**changes):
    """Return a failed result, of two test images that are also in the train split."""
    fields = {"check": "test_in_train", "split": "test", "num_examples": 1234, "value": 0.12345, "passed": False}
    thresholds = {"severity": "error", "threshold": 0.01, "warning_threshold": 0.0, "outcome": "error"}
    examples = {"indices": (5, 8), "twin_indices": (11, 14)}
    return CheckResult(**(fields | thresholds | examples | changes))


def record(*results, **changes):
    fields = {
        "dataset_id": "digits-1",
        "dataset_digest": "0" * 64,
        "baseline_digest": None,
        "checks": {name: check.defaults for name, check in CHECKS.items()},
        "results": results,
        "table": FileInfo(name="part.parquet", num_bytes=3, sha256="1" * 64),
    }
    return ValidationRecord(**(fields | changes))


def test_default_settings_of_the_checks():
    assert {name: tuple(settings.model_dump().values()) for name, settings in resolve_checks({}).items()} == DEFAULTS
    assert [name for name, check in CHECKS.items() if check.low_is_bad] == ["class_balance", "pixel_range"]


@pytest.mark.parametrize(
    ("check", "severity", "value", "outcome"),
    [
        ("class_drift", "error", 0.1, "passed"),
        ("class_drift", "error", 0.11, "warning"),
        ("class_drift", "error", 0.2, "warning"),
        ("class_drift", "error", 0.21, "error"),
        ("class_drift", "warning", 0.21, "warning"),
        ("class_balance", "error", 0.2, "passed"),
        ("class_balance", "error", 0.19, "warning"),
        ("class_balance", "error", 0.1, "warning"),
        ("class_balance", "error", 0.09, "error"),
    ],
)
def test_value_at_a_threshold_passes_and_beyond_it_fails(check, severity, value, outcome):
    thresholds = (0.1, 0.2) if CHECKS[check].low_is_bad else (0.2, 0.1)
    settings = CheckSettings(severity=severity, threshold=thresholds[0], warning_threshold=thresholds[1])
    assert CHECKS[check].decide(settings, value) == outcome


def test_result_is_described_in_one_line():
    meaning = CHECKS["test_in_train"].value
    head = "test_in_train, split test: "
    assert result().describe() == f"{head}0.1235 (1,234 examples), expected at most 0.01: {meaning}"
    warned = result(value=0.005, passed=True, outcome="warning", num_examples=0)
    assert warned.describe() == f"{head}0.005, expected at most 0: {meaning}"
    failed = result(outcome="warning", severity="warning", num_examples=1)
    assert failed.describe() == f"{head}0.1235 (1 examples), expected at most 0.01: {meaning}"
    few = result(check="class_balance", threshold=0.1, value=0.05)
    assert "expected at least 0.1: " in few.describe()


def test_examples_are_values_of_the_inspect_option():
    assert result().examples() == ["test:5,8", "train:11,14"]
    assert result(check="duplicates", indices=(9, 4), twin_indices=(3, 4, 3)).examples() == ["test:9,4,3"]
    assert result(split="train").examples() == ["train:5,8,11,14"]
    assert result(indices=(), twin_indices=()).examples() == []


def test_result_of_an_unknown_check_is_invalid():
    with pytest.raises(ValidationError, match="there is no check 'magic'"):
        result(check="magic")


def test_failed_check_raises_an_error_with_commands(tmp_path):
    workspace = tmp_path / "work space"
    require_passed(record(result(outcome="warning"), result(outcome="passed")), workspace)
    errors = (result(), result(split="train"), result(check="schema", split="train", threshold=0.0))
    with pytest.raises(BadInput) as raised:
        require_passed(record(*errors, result(check="duplicates", outcome="warning")), workspace)
    first, *lines, last = str(raised.value).split("\n")
    assert first == "digits-1 does not pass:"
    assert lines[0] == f"  {result().describe()}"
    shown = "--examples test:5,8 --examples train:11,14"
    assert lines[1] == f"    look: backbeam inspect digits-1 --workspace '{workspace}' {shown}"
    assert len(lines) == 6
    assert "in [validation.test_in_train], [validation.schema] by --config" in last
    assert last.endswith(f"All results: {workspace}/reports/validation/dataset=digits-1/part.parquet")


def test_validation_of_another_data_set_is_corrupt(tmp_path):
    dataset = Dataset(tmp_path / "datasets" / "digits-1", None, "0" * 64)
    path = dataset.folder / "validation.json"
    path.parent.mkdir(parents=True)
    assert find_validation(tmp_path, dataset) is None
    path.write_bytes(record(result()).to_json())
    assert load_validation(dataset) == record(result())
    with pytest.raises(CorruptArtefact, match="is the validation of another data set"):
        load_validation(replace(dataset, digest="3" * 64))
    path.write_bytes(record(dataset_id="digits-2").to_json())
    with pytest.raises(CorruptArtefact, match="is the validation of another data set"):
        load_validation(dataset)


def threshold(value, warning=0.0, check="duplicates"):
    return {check: {"threshold": value, "warning_threshold": warning}}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"duplicates": 3}, "validation.duplicates is no table: write [validation.duplicates]"),
        ({"magic": {}, "other": {}}, "validation: no such check: 'magic'; there are: schema, missing_classes, "),
        ({"duplicates": {"much": 1, "more": 2}}, "validation.duplicates: no such setting: 'much'"),
        ({"duplicate": {}}, "validation: no such check: 'duplicate' (did you mean 'duplicates'?); there are: schema,"),
        (
            {"duplicates": {"severty": "off"}},
            "validation.duplicates: no such setting: 'severty' (did you mean 'severity'?)",
        ),
        ({"duplicates": {"severity": "fatal"}}, "validation.duplicates.severity: "),
        (threshold("1"), "validation.duplicates.threshold: Input should be a valid number, found '1'"),
        (threshold(inf, nan), "validation.duplicates.threshold: Input should be a finite number, found inf"),
        (threshold(0.1, 0.2), "validation.duplicates: warning_threshold 0.2 is laxer than threshold 0.1"),
        (threshold(0.1, 0.05, "class_balance"), "validation.class_balance: warning_threshold 0.05 is laxer than"),
    ],
)
def test_error_message_names_the_invalid_setting(table, message):
    with pytest.raises(BadUsage) as raised:
        resolve_checks(table)
    assert str(raised.value).startswith(message)


def test_settings_change_only_what_they_name():
    found = resolve_checks({"duplicates": {"threshold": 0.5}, "class_drift": {"warning_threshold": 0.2}})
    assert found["duplicates"] == CheckSettings(severity="warning", threshold=0.5, warning_threshold=0.5)
    assert found["class_drift"] == CheckSettings(severity="error", threshold=0.2, warning_threshold=0.2)
    drift = resolve_checks({"class_drift": {"threshold": 0.5, "warning_threshold": 0.3}})["class_drift"]
    assert (drift.threshold, drift.warning_threshold) == (0.5, 0.3)
