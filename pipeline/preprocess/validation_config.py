"""The checks of a data set, their settings, and the record of their results. `validation_checks` computes the values.

Tables such as [validation.test_in_train] in a configuration file change the default settings.
"""

import shlex
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from model.errors import BadInput, BadUsage, CorruptArtefact
from model.recipes import check_names, shown
from pipeline.storage.formats import VersionedRecord
from pipeline.storage.places import Place
from pipeline.storage.records import Count, Digest, FileInfo, FileName, Record

if TYPE_CHECKING:
    from pipeline.preprocess.dataset import Dataset  # imports NumPy, which the help of a command does without

VALIDATION_NAME = "validation.json"
TABLE = "validation"

Severity = Literal["error", "warning", "off"]
Outcome = Literal["passed", "warning", "error"]
Threshold = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]


class CheckSettings(BaseModel):
    """The settings of a check.

    Attributes:
        severity: effect of a value beyond threshold: error stops the job, warning does not, off disables the check.
        threshold: the largest value that passes (the smallest, for a check with `low_is_bad`); -1e12 to 1e12.
        warning_threshold: a value beyond it gives at least a warning; no laxer than threshold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Severity
    threshold: Threshold
    warning_threshold: Threshold


class Check(NamedTuple):
    """A check: what its value says of a split, its default settings, and whether small values fail, not large ones."""

    value: str
    defaults: CheckSettings
    low_is_bad: bool = False

    def decide(self, settings: CheckSettings, value: float) -> Outcome:
        """Return the outcome of a value."""
        if self.is_beyond(value, settings.threshold):
            return "error" if settings.severity == "error" else "warning"
        return "warning" if self.is_beyond(value, settings.warning_threshold) else "passed"

    def is_beyond(self, value: float, threshold: float) -> bool:
        """Return whether a value fails a threshold; a value equal to the threshold passes."""
        return value < threshold if self.low_is_bad else value > threshold


def _error(threshold: float, warning_threshold: float) -> CheckSettings:
    return CheckSettings(severity="error", threshold=threshold, warning_threshold=warning_threshold)


def _warning(threshold: float) -> CheckSettings:
    return CheckSettings(severity="warning", threshold=threshold, warning_threshold=threshold)


# Published data sets contain a few duplicates, so they give only a warning. A shift of 0.2 standard deviations is
# called small and 0.5 medium (J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd ed. 1988, section
# 2.2).
CHECKS = {
    "schema": Check("share of examples that are not what the manifest promises", _error(0.0, 0.0)),
    "missing_classes": Check("classes without examples", _warning(0.0)),
    "class_balance": Check("examples of the rarest class over those of the most frequent", _warning(0.1), True),
    "constant_images": Check("share of images whose pixels are all equal", _warning(0.0)),
    "rejected": Check("share of the source's examples that are left out", _error(0.1, 0.01)),
    "rejected_of_class": Check("largest share of a class's examples that are left out", _error(0.1, 0.01)),
    "pixel_range": Check("grey levels from the darkest pixel of the data set to the brightest", _warning(32.0), True),
    "duplicates": Check("share of examples whose image stands earlier in the split", _warning(0.0)),
    "conflicting_labels": Check(
        "share of examples whose image stands earlier in the split with another label", _error(0.01, 0.0)
    ),
    "test_in_train": Check("share of examples whose image stands in the train split too", _error(0.01, 0.0)),
    "class_drift": Check("total variation distance of the class frequencies from the baseline's", _error(0.2, 0.1)),
    "pixel_mean_drift": Check(
        "shift of the mean pixel value from the baseline's, in the baseline's standard deviations", _error(0.2, 0.1)
    ),
    "pixel_std_drift": Check(
        "shift of the pixels' standard deviation from the baseline's, as a part of that", _error(0.2, 0.1)
    ),
}


def _is_check(name: str) -> str:
    if name not in CHECKS:
        raise ValueError(f"there is no check {name!r}")
    return name


CheckName = Annotated[str, AfterValidator(_is_check)]


class CheckResult(Record):
    """The result of a check for a split: a row of the table `validation`; the settings are those of the check."""

    check: CheckName
    split: str
    severity: Severity
    threshold: float
    warning_threshold: float
    value: float
    passed: bool  # whether value is not beyond threshold
    outcome: Outcome
    num_examples: Count  # that fail the check; 0 if it is about the split as a whole
    indices: tuple[Count, ...]  # positions in the source of the first of them
    twin_indices: tuple[Count, ...]  # for each, the earlier example (in train, for test_in_train) of equal image

    def describe(self) -> str:
        """Describe the result in one line."""
        check = CHECKS[self.check]
        threshold = self.warning_threshold if self.passed else self.threshold
        limit = f"at {'least' if check.low_is_bad else 'most'} {threshold:g}"
        count = f" ({self.num_examples:,} examples)" if self.num_examples else ""
        return f"{self.check}, split {self.split}: {self.value:.4g}{count}, expected {limit}: {check.value}"

    def examples(self) -> list[str]:
        """Return the listed examples and their twins as values of `backbeam inspect --examples`."""
        by_split = {self.split: [*self.indices]}
        twin_split = "train" if self.check == "test_in_train" else self.split
        by_split[twin_split] = list(dict.fromkeys([*by_split.get(twin_split, []), *self.twin_indices]))
        return [f"{split}:{','.join(map(str, indices))}" for split, indices in by_split.items() if indices]


class ValidationRecord(VersionedRecord):
    """A complete validation, written into the data set's folder after its table; digests are those of manifests."""

    format_version: Literal[1] = 1
    dataset_id: FileName
    dataset_digest: Digest
    baseline_digest: Digest | None
    checks: dict[CheckName, CheckSettings]
    results: tuple[CheckResult, ...]
    table: FileInfo

    def with_outcome(self, outcome: Outcome) -> list[CheckResult]:
        """Return the results that have an outcome."""
        return [result for result in self.results if result.outcome == outcome]


def resolve_checks(tables: dict[str, Any]) -> dict[str, CheckSettings]:
    """Return the settings of every check: the defaults, changed by the table [validation] of a configuration.

    A threshold without a warning_threshold sets both. Raises BadUsage if a check or setting does not exist, or a value
    is invalid.
    """
    check_names(tables, CHECKS, "validation: no such check")
    return {name: _resolve_check(name, tables.get(name, {})) for name in CHECKS}


def require_passed(record: ValidationRecord, workspace: Place) -> None:
    """Raise BadInput if a check of severity error failed; the message has commands that show the examples."""
    failed = record.with_outcome("error")
    if not failed:
        return
    lines = [f"  {result.describe()}\n    look: {_inspect_command(record, result, workspace)}" for result in failed]
    checks = ", ".join(f"[{TABLE}.{name}]" for name in dict.fromkeys(result.check for result in failed))
    raise BadInput(
        f"{record.dataset_id} does not pass:\n" + "\n".join(lines) + "\n"
        f"Mend the source, or give a file with another severity or threshold in {checks} by --config. "
        f"All results: {table_folder(workspace, record.dataset_id) / record.table.name}"
    )


def _inspect_command(record: ValidationRecord, result: CheckResult, workspace: Place) -> str:
    examples = [argument for value in result.examples() for argument in ("--examples", value)]
    return shlex.join(["backbeam", "inspect", record.dataset_id, "--workspace", str(workspace), *examples])


def table_folder(workspace: Place, dataset_id: str) -> Place:
    """Return the folder of a data set's table `validation`."""
    return workspace / f"reports/{TABLE}/dataset={dataset_id}"


def load_validation(dataset: "Dataset") -> ValidationRecord:
    """Load a data set's validation record; raises CorruptArtefact if it is damaged or of another data set."""
    path = dataset.folder / VALIDATION_NAME
    record = ValidationRecord.load(path)
    if (record.dataset_id, record.dataset_digest) != (dataset.folder.name, dataset.digest):
        raise CorruptArtefact(f"{path} is the validation of another data set")
    return record


def check_validation(workspace: Place, dataset: "Dataset") -> ValidationRecord:
    """Load a data set's validation record and check its table; raises CorruptArtefact as `load_validation`."""
    record = load_validation(dataset)
    record.table.check(table_folder(workspace, record.dataset_id))
    return record


def find_validation(workspace: Place, dataset: "Dataset") -> ValidationRecord | None:
    """Return what `check_validation` does, None if the data set is not validated."""
    return check_validation(workspace, dataset) if (dataset.folder / VALIDATION_NAME).exists() else None


def _resolve_check(name: str, given: Any) -> CheckSettings:
    place = f"validation.{name}"
    check = CHECKS[name]
    if not isinstance(given, dict):
        raise BadUsage(f"{place} is no table: write [{place}]")
    check_names(given, CheckSettings.model_fields, f"{place}: no such setting")
    implied = {"warning_threshold": given["threshold"]} if "threshold" in given else {}
    try:
        settings = CheckSettings.model_validate(check.defaults.model_dump() | implied | given, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadUsage(f"{place}.{first['loc'][-1]}: {first['msg']}, found {shown(first['input'])}") from None
    if check.is_beyond(settings.warning_threshold, settings.threshold):
        raise BadUsage(
            f"{place}: warning_threshold {settings.warning_threshold:g} is laxer than threshold {settings.threshold:g}"
        )
    return settings
