"""Validation of a data set: shards -> facts -> findings -> table -> record. No Beam: see `read_facts`."""

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
from pipeline.storage.commit import commit_file
from pipeline.storage.files import remove_file, remove_on_failure
from pipeline.storage.places import Place
from pipeline.storage.schemas import SCHEMA_VERSION
from pipeline.storage.tables import VALIDATION_SCHEMA, write_table


@dataclass(frozen=True)
class ValidatedDataset:
    """What is validated, or compared with.

    Attributes:
        folder: the data set's.
        manifest: what it holds.
        digest: SHA-256 of the manifest.
    """

    folder: Place
    manifest: Manifest
    digest: str


def validate(
    workspace: Place, subject: ValidatedDataset, checks: dict[str, CheckSettings], baseline: ValidatedDataset | None
) -> None:
    """Check a data set and write the table `validation`, then the record; what stood there before is replaced.

    Args:
        workspace: where the table goes.
        subject: the data set.
        checks: the settings of every check.
        baseline: an earlier data set; only its manifest is read.

    Raises:
        CorruptArtefact: a shard is not the file that the manifest names.
    """
    folder, path = table_folder(workspace, subject.manifest.dataset_id), subject.folder / VALIDATION_NAME
    remove_file(path)
    with remove_on_failure(folder, record=path):
        commit_file(path, examine(workspace, subject, checks, baseline).to_json())


def examine(
    workspace: Place, subject: ValidatedDataset, checks: dict[str, CheckSettings], baseline: ValidatedDataset | None
) -> ValidationRecord:
    """Check a data set and write the table `validation` alone; as for `validate`."""
    folder = table_folder(workspace, subject.manifest.dataset_id)
    wanted = {name: settings for name, settings in checks.items() if settings.severity != "off"}
    found = examine_shards(subject, baseline)
    results = tuple(apply_check(finding, wanted[finding.check]) for finding in found if finding.check in wanted)
    return ValidationRecord(
        dataset_id=subject.manifest.dataset_id,
        dataset_digest=subject.digest,
        baseline_digest=baseline.digest if baseline else None,
        checks=checks,
        results=results,
        table=write_table(folder / f"{TABLE}.parquet", _as_table(subject, baseline, results)),
    )


def examine_shards(subject: ValidatedDataset, baseline: ValidatedDataset | None) -> list[CheckFinding]:
    """Read every shard, checked, and return what every check finds.

    One shard is in memory at a time, and later one bucket of what is kept of every example (32 bytes, on the disk). It
    is a loop and not a Beam pipeline: the twin of an image may be in any shard, so the keys must come together in one
    place anyway, and for a data set of 70,000 images they have before Beam would be imported.
    """
    splits = subject.manifest.splits
    with temporary_buckets(sum(split.num_examples for split in splits.values())) as buckets:
        facts = {name: _read_split(subject, number, name, buckets) for number, name in enumerate(splits)}
        return list(find_faults(subject.manifest, facts, buckets, baseline.manifest if baseline else None))


def _read_split(subject: ValidatedDataset, number: int, name: str, buckets: DigestBuckets) -> SplitFacts:
    """Read a split's shards, and keep in buckets what its number and examples are."""
    facts, num_classes = SplitFacts(), len(subject.manifest.class_names)
    for shard in subject.manifest.splits[name].shards:
        examples = _decode(subject, name, shard)
        facts = facts.add(describe_shard(examples, shard, num_classes))
        if examples is not None:
            buckets.add(pack_keys(content_keys(examples.images), examples.indices, examples.labels, number))
    return facts


def apply_check(finding: CheckFinding, settings: CheckSettings) -> CheckResult:
    """Say what follows from a finding."""
    check = CHECKS[finding.check]
    return CheckResult(
        **vars(finding),
        **settings.model_dump(),
        passed=not check.is_beyond(finding.value, settings.threshold),
        outcome=check.decide(settings, finding.value),
    )


def _decode(subject: ValidatedDataset, split: str, shard: ShardInfo) -> Examples | None:
    """Decode a shard that is the file that the manifest names; None if that file is no shard of the promised kind."""
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
