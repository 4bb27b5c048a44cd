"""Run the checks on a data set: shards -> facts -> findings -> table -> record.

The checks are in `validation_checks`, their settings in `validation_config`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from model.errors import CorruptArtefact
from model.examples import Examples
from pipeline.preprocess.duplicate_images import DigestBuckets, content_keys, pack_keys, temporary_buckets
from pipeline.preprocess.manifest import Manifest, ShardInfo
from pipeline.preprocess.shards import decode_shard
from pipeline.preprocess.validation_checks import CheckFinding, SplitFacts, describe_shard, find_faults
from pipeline.preprocess.validation_config import (
    CHECKS,
    TABLE,
    VALIDATION_NAME,
    CheckResult,
    CheckSettings,
    ValidationRecord,
    table_folder,
)
from pipeline.storage.files import remove_file, remove_on_failure
from pipeline.storage.places import Place
from pipeline.storage.records import commit_file
from pipeline.storage.schemas import SCHEMA_VERSION
from pipeline.storage.tables import VALIDATION_SCHEMA, write_table


@dataclass(frozen=True)
class ValidatedDataset:
    """A data set to validate, or to compare with.

    Attributes:
        folder: its folder.
        manifest: its manifest.
        digest: SHA-256 of the manifest.
    """

    folder: Place
    manifest: Manifest
    digest: str


def validate(
    workspace: Place, subject: ValidatedDataset, checks: dict[str, CheckSettings], baseline: ValidatedDataset | None
) -> None:
    """Validate a data set and write the table `validation`, then the record; earlier ones are replaced.

    Args:
        workspace: the workspace.
        subject: the data set.
        checks: the settings of every check.
        baseline: an earlier data set to compare with; only its manifest is read.

    Raises:
        CorruptArtefact: a shard does not match the manifest.
    """
    folder = table_folder(workspace, subject.manifest.dataset_id)
    path = subject.folder / VALIDATION_NAME
    remove_file(path)  # first, so that no record names a table that is being replaced
    with remove_on_failure(folder, record=path):
        commit_file(path, examine(workspace, subject, checks, baseline).to_json())


def examine(
    workspace: Place, subject: ValidatedDataset, checks: dict[str, CheckSettings], baseline: ValidatedDataset | None
) -> ValidationRecord:
    """Validate a data set, write the table `validation` and return the record; arguments as for `validate`."""
    folder = table_folder(workspace, subject.manifest.dataset_id)
    enabled = {name: settings for name, settings in checks.items() if settings.severity != "off"}
    findings = examine_shards(subject, baseline)
    results = tuple(apply_check(finding, enabled[finding.check]) for finding in findings if finding.check in enabled)
    return ValidationRecord(
        dataset_id=subject.manifest.dataset_id,
        dataset_digest=subject.digest,
        baseline_digest=baseline.digest if baseline else None,
        checks=checks,
        results=results,
        table=write_table(folder / f"{TABLE}.parquet", _as_table(subject, baseline, results)),
    )


def examine_shards(subject: ValidatedDataset, baseline: ValidatedDataset | None) -> list[CheckFinding]:
    """Read every shard, check its digest, and return the findings of all checks.

    Holds one shard in memory at a time, then one bucket of keys (32 bytes an example, on disk). This is a loop and not
    a Beam pipeline: duplicates may be in any two shards, so all keys must be gathered in one place, and 70,000 images
    are done in less time than the import of Beam takes.
    """
    splits = subject.manifest.splits
    with temporary_buckets(sum(split.num_examples for split in splits.values())) as buckets:
        facts = {name: _read_split(subject, number, name, buckets) for number, name in enumerate(splits)}
        return list(find_faults(subject.manifest, facts, buckets, baseline.manifest if baseline else None))


def _read_split(subject: ValidatedDataset, number: int, name: str, buckets: DigestBuckets) -> SplitFacts:
    """Read a split's shards, add the keys of their examples to buckets, and return the facts of the split."""
    facts = SplitFacts()
    num_classes = len(subject.manifest.class_names)
    for shard in subject.manifest.splits[name].shards:
        examples = _decode(subject, name, shard)
        facts = facts.add(describe_shard(examples, shard, num_classes))
        if examples is not None:
            buckets.add(pack_keys(content_keys(examples.images), examples.indices, examples.labels, number))
    return facts


def apply_check(finding: CheckFinding, settings: CheckSettings) -> CheckResult:
    """Compare a finding with the thresholds of its check."""
    check = CHECKS[finding.check]
    return CheckResult(
        **vars(finding),
        **settings.model_dump(),
        passed=not check.is_beyond(finding.value, settings.threshold),
        outcome=check.decide(settings, finding.value),
    )


def _decode(subject: ValidatedDataset, split: str, shard: ShardInfo) -> Examples | None:
    """Decode a shard; None if the file has the right digest but does not hold examples of the right size.

    Raises:
        CorruptArtefact: the file does not match the manifest.
    """
    data = shard.read(subject.folder.parent / subject.manifest.id_of(shard))
    try:
        return decode_shard(data, subject.manifest, split, shard)
    except CorruptArtefact:
        return None


def _as_table(subject: ValidatedDataset, baseline: ValidatedDataset | None, results: Iterable[CheckResult]) -> pa.Table:
    origin = {
        "dataset_id": subject.manifest.dataset_id,
        "dataset_digest": subject.digest,
        "baseline_digest": baseline.digest if baseline else None,
        "schema_version": SCHEMA_VERSION,
    }
    return pa.Table.from_pylist([origin | result.model_dump() for result in results], VALIDATION_SCHEMA)
