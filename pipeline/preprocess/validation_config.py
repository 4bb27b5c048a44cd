"""What is checked of a data set, what follows from it, and the record of what was found. The looking is in `checks`.

    [validation.test_in_train]
    severity = "error"
    threshold = 0.0

Such tables of a configuration file change the checks below. A value beyond the threshold fails the check, with the
severity that it has; one beyond `warning_threshold` only is a warning.
"""

import shlex
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from model.errors import BadInput, BadUsage, CorruptArtefact
from model.recipes import nearest, shown
from pipeline.storage.places import Place
from pipeline.storage.records import Count, Digest, FileInfo, FileName, Record
from pipeline.storage.workspace import dataset_partition

VALIDATION_NAME = "validation.json"
TABLE = "validation"

Severity = Literal["error", "warning", "off"]
Outcome = Literal["passed", "warning", "error"]
Threshold = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]


class CheckSettings(BaseModel):
    """When a check fails, and how bad that is.

    Attributes:
        severity: of a value beyond threshold: error stops the job, warning does not, off leaves the check out.
        threshold: the largest value that passes; of a check that is `low_is_bad`, the smallest. -1e12 to 1e12.
        warning_threshold: a value beyond this one is a warning at least; no laxer than threshold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Severity
    threshold: Threshold
    warning_threshold: Threshold


class Check(NamedTuple):
    """A check as it is unless the configuration changes it.

    Attributes:
        value: what it works out for a split.
        defaults: its settings.
        low_is_bad: whether small values fail, not large ones.
    """

    value: str
    defaults: CheckSettings
    low_is_bad: bool = False

    def decide(self, settings: CheckSettings, value: float) -> Outcome:
        """Say what follows from a value."""
        if self.is_beyond(value, settings.threshold):
            return "error" if settings.severity == "error" else "warning"
        return "warning" if self.is_beyond(value, settings.warning_threshold) else "passed"

    def is_beyond(self, value: float, threshold: float) -> bool:
        """Tell whether a value is on the bad side of a threshold."""
        return value < threshold if self.low_is_bad else value > threshold


def _error(threshold: float, warning_threshold: float) -> CheckSettings:
    return CheckSettings(severity="error", threshold=threshold, warning_threshold=warning_threshold)


def _warning(threshold: float) -> CheckSettings:
    return CheckSettings(severity="warning", threshold=threshold, warning_threshold=threshold)


# Published sets hold a few duplicates, so a few are a warning. Of shifts, 0.2 standard deviations are called small and
# 0.5 medium (J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd ed. 1988, section 2.2).
CHECKS = {
    "schema": Check("share of examples that are not what the manifest promises", _error(0.0, 0.0)),
    "missing_classes": Check("classes without examples", _warning(0.0)),
    "class_balance": Check("examples of the rarest class over those of the most frequent", _warning(0.1), True),
    "constant_images": Check("share of images whose pixels are all equal", _warning(0.0)),
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
    """What a check found in a split: a row of the table `validation`.

    Attributes:
        check: a name of CHECKS.
        split: the split.
        severity: of a value beyond threshold.
        threshold: as it was set.
        warning_threshold: as it was set.
        value: what was found.
        passed: whether value is not beyond threshold.
        outcome: what follows.
        num_examples: how many examples the check objects to; 0 where it is about the split as a whole.
        indices: the first of them, by their position in the source.
        twin_indices: for each of those, the earlier example (of train, for test_in_train) with the same image; empty
            for other checks.
    """

    check: CheckName
    split: str
    severity: Severity
    threshold: float
    warning_threshold: float
    value: float
    passed: bool
    outcome: Outcome
    num_examples: Count
    indices: tuple[Count, ...]
    twin_indices: tuple[Count, ...]

    def describe(self) -> str:
        """Say in a line what was found."""
        check = CHECKS[self.check]
        threshold = self.threshold if self.outcome == "error" or not self.passed else self.warning_threshold
        limit = f"at {'least' if check.low_is_bad else 'most'} {threshold:g}"
        concerned = f" ({self.num_examples:,} examples)" if self.num_examples else ""
        return f"{self.check}, split {self.split}: {self.value:.4g}{concerned}, expected {limit}: {check.value}"

    def examples(self) -> list[str]:
        """Name the examples to look at as `backbeam inspect --examples` takes them."""
        named = {self.split: [*self.indices]}
        twins = "train" if self.check == "test_in_train" else self.split
        named[twins] = list(dict.fromkeys([*named.get(twins, []), *self.twin_indices]))
        return [f"{split}:{','.join(map(str, indices))}" for split, indices in named.items() if indices]


class ValidationRecord(Record):
    """A finished validation; written into the data set's folder after the table that it names.

    Attributes:
        dataset_id: the data set.
        dataset_digest: SHA-256 of its manifest.
        baseline_digest: SHA-256 of the manifest of the data set that it was compared with, if any.
        checks: the settings of every check.
        results: what was found, check by check and split by split.
        table: the file that holds the results as a table.
    """

    format_version: Literal[1] = 1
    dataset_id: FileName
    dataset_digest: Digest
    baseline_digest: Digest | None
    checks: dict[CheckName, CheckSettings]
    results: tuple[CheckResult, ...]
    table: FileInfo

    @property
    def asked(self) -> tuple[dict[str, CheckSettings], Digest | None]:
        """What decides the results besides the data set."""
        return self.checks, self.baseline_digest

    def with_outcome(self, outcome: Outcome) -> list[CheckResult]:
        """List the results that have an outcome."""
        return [result for result in self.results if result.outcome == outcome]


def resolve_checks(tables: dict[str, Any]) -> dict[str, CheckSettings]:
    """Work out the settings of every check.

    Args:
        tables: what the configuration says below [validation]: settings by check. A threshold that is given without a
            warning_threshold stands for both.

    Raises:
        BadUsage: there is no such check or setting, or a value is not allowed; the message names the nearest.
    """
    unknown = [name for name in tables if name not in CHECKS]
    if unknown:
        raise BadUsage(
            f"validation: no such check: {shown(unknown[0])}{nearest(unknown[0], CHECKS)}; "
            f"there are: {', '.join(CHECKS)}"
        )
    return {name: _resolve_check(name, tables.get(name, {})) for name in CHECKS}


def decide(record: ValidationRecord, workspace: Place) -> None:
    """Let a data set through, or raise BadInput if a check of severity error failed; it says where to look."""
    failed = record.with_outcome("error")
    if not failed:
        return
    lines = [f"  {result.describe()}\n    look: {inspect_command(record, result, workspace)}" for result in failed]
    checks = ", ".join(f"[{TABLE}.{name}]" for name in dict.fromkeys(result.check for result in failed))
    raise BadInput(
        f"{record.dataset_id} does not pass:\n" + "\n".join(lines) + "\n"
        f"Mend the source, or give a file with another severity or threshold in {checks} by --config. "
        f"All results: {table_folder(workspace, record.dataset_id) / record.table.name}"
    )


def inspect_command(record: ValidationRecord, result: CheckResult, workspace: Place) -> str:
    """Return the command that shows what a check found."""
    examples = [part for named in result.examples() for part in ("--examples", named)]
    return shlex.join(["backbeam", "inspect", record.dataset_id, "--workspace", str(workspace), *examples])


def table_folder(workspace: Place, dataset_id: str) -> Place:
    """Return the folder of a data set's table `validation`."""
    return workspace / dataset_partition(TABLE, dataset_id)


def is_validated(folder: Place) -> bool:
    """Tell whether a data set's folder holds the record of a validation."""
    return (folder / VALIDATION_NAME).exists()


def load_validation(workspace: Place, dataset_id: str, dataset_digest: str) -> ValidationRecord:
    """Load a data set's validation; raises CorruptArtefact if the record is not sound, or is another data set's."""
    path = workspace / "datasets" / dataset_id / VALIDATION_NAME
    record = ValidationRecord.load(path)
    if (record.dataset_id, record.dataset_digest) != (dataset_id, dataset_digest):
        raise CorruptArtefact(f"{path} is the validation of another data set")
    return record


def check_validation(workspace: Place, dataset_id: str, dataset_digest: str) -> ValidationRecord:
    """Load a data set's validation and check its table.

    Raises:
        CorruptArtefact: the record or the table is not sound, or is another data set's.
    """
    record = load_validation(workspace, dataset_id, dataset_digest)
    record.table.check(table_folder(workspace, dataset_id))
    return record


def _resolve_check(name: str, given: Any) -> CheckSettings:
    place, check = f"validation.{name}", CHECKS[name]
    if not isinstance(given, dict):
        raise BadUsage(f"{place} is no table: write [{place}]")
    unknown = [key for key in given if key not in CheckSettings.model_fields]
    if unknown:
        raise BadUsage(
            f"{place}: no such setting: {shown(unknown[0])}{nearest(unknown[0], CheckSettings.model_fields)}"
        )
    implied = {"warning_threshold": given["threshold"]} if "threshold" in given else {}
    try:
        settings = CheckSettings.model_validate(check.defaults.model_dump() | implied | given, strict=True)
    except ValidationError as problem:
        first = problem.errors()[0]
        raise BadUsage(f"{place}.{first['loc'][-1]}: {first['msg']}, found {shown(first['input'])}") from None
    if check.is_beyond(settings.warning_threshold, settings.threshold):
        raise BadUsage(
            f"{place}: warning_threshold {settings.warning_threshold:g} is laxer than threshold {settings.threshold:g}"
        )
    return settings
