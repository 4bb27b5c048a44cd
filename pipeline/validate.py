"""Validation of a data set: shards -> facts -> findings -> table -> record. No Beam: see `read_facts`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from model.errors import CorruptArtefact
from model.examples import Examples
from pipeline import storage
from pipeline.checks import Finding, ShardFacts, describe_shard, find
from pipeline.manifest import Manifest, ShardInfo
from pipeline.schemas import SCHEMA_VERSION
from pipeline.shards import decode_shard
from pipeline.tables import VALIDATION_SCHEMA, write_table
from pipeline.validation import (
    CHECKS,
    TABLE,
    VALIDATION_NAME,
    CheckResult,
    CheckSettings,
    ValidationRecord,
    table_folder,
)


@dataclass(frozen=True)
class Subject:
    """What is validated, or compared with.

    Attributes:
        folder: the data set's.
        manifest: what it holds.
        digest: SHA-256 of the manifest.
    """

    folder: Path
    manifest: Manifest
    digest: str


def validate(workspace: Path, subject: Subject, checks: dict[str, CheckSettings], baseline: Subject | None) -> None:
    """Check a data set and write the table `validation`, then the record; what stood there before is replaced.

    Args:
        workspace: where the table goes.
        subject: the data set.
        checks: the settings of every check.
        baseline: an earlier data set; only its manifest is read.

    Raises:
        CorruptArtefact: a shard is not the file that the manifest names.
    """
    folder = table_folder(workspace, subject.manifest.dataset_id)
    storage.remove_file(subject.folder / VALIDATION_NAME)
    with storage.removed_on_failure(folder, record=subject.folder / VALIDATION_NAME):
        wanted = {name: settings for name, settings in checks.items() if settings.severity != "off"}
        found = find(subject.manifest, read_facts(subject), baseline.manifest if baseline else None)
        results = tuple(judge(finding, wanted[finding.check]) for finding in found if finding.check in wanted)
        record = ValidationRecord(
            dataset_id=subject.manifest.dataset_id,
            dataset_digest=subject.digest,
            baseline_digest=baseline.digest if baseline else None,
            checks=checks,
            results=results,
            table=write_table(folder / f"{TABLE}.parquet", _as_table(subject, baseline, results)),
        )
        storage.write_atomically(subject.folder / VALIDATION_NAME, record.to_json())


def read_facts(subject: Subject) -> dict[str, list[ShardFacts]]:
    """Read every shard, checked, and keep what must be known of it.

    One shard is in memory at a time, and 28 bytes of every example seen. It is a loop and not a Beam pipeline: the twin
    of an image may be in any shard, so the keys must come together in one place anyway, and for a data set of 70,000
    images they have before Beam would be imported.
    """
    manifest, num_classes = subject.manifest, len(subject.manifest.class_names)
    return {
        name: [describe_shard(_decode(subject, name, shard), shard, num_classes) for shard in split.shards]
        for name, split in manifest.splits.items()
    }


def judge(finding: Finding, settings: CheckSettings) -> CheckResult:
    """Say what follows from a finding."""
    check = CHECKS[finding.check]
    return CheckResult(
        **vars(finding),
        **settings.model_dump(),
        passed=not check.is_beyond(finding.value, settings.threshold),
        outcome=check.decide(settings, finding.value),
    )


def _decode(subject: Subject, split: str, shard: ShardInfo) -> Examples | None:
    """Decode a shard that is the file that the manifest names; None if that file is no shard of the promised kind."""
    data = shard.read(subject.folder.parent / subject.manifest.id_of(shard))
    try:
        return decode_shard(data, subject.manifest, split, shard)
    except CorruptArtefact:
        return None


def _as_table(subject: Subject, baseline: Subject | None, results: Iterable[CheckResult]) -> pa.Table:
    origin = {
        "dataset_id": subject.manifest.dataset_id,
        "dataset_digest": subject.digest,
        "baseline_digest": baseline.digest if baseline else None,
        "schema_version": SCHEMA_VERSION,
    }
    return pa.Table.from_pylist([origin | result.model_dump() for result in results], VALIDATION_SCHEMA)
