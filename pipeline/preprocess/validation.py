"""Validate a data set: shards -> flagged examples -> values of the checks -> table of results -> record."""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from model.errors import CorruptArtefact
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.duplicate_images import KEY_ROW, DigestBuckets, KeyRows, content_keys, pack_keys
from pipeline.preprocess.manifest import Manifest, ShardInfo
from pipeline.preprocess.shards import decode_shard
from pipeline.preprocess.validation_checks import (
    CheckValue,
    Flagged,
    add_flagged,
    compute_check_values,
    flag_duplicates,
    flag_shard,
)
from pipeline.preprocess.validation_config import (
    CHECKS,
    TABLE,
    VALIDATION_NAME,
    CheckResult,
    CheckSettings,
    ValidationRecord,
    table_folder,
)
from pipeline.storage.files import remove_file, remove_on_failure, scratch_folder
from pipeline.storage.places import Place
from pipeline.storage.records import commit_file
from pipeline.storage.schemas import SCHEMA_VERSION
from pipeline.storage.tables import VALIDATION_SCHEMA, write_table

FlagFunction: TypeAlias = Callable[[Dataset], Flagged]  # `flag_examples`, or what gives the same by workers


def validate_dataset(
    workspace: Place,
    dataset: Dataset,
    checks: dict[str, CheckSettings],
    baseline: Dataset | None,
    flag: FlagFunction | None = None,
) -> None:
    """Validate a data set and write the table `validation`, then the record; earlier ones are replaced.

    Of the baseline only the manifest is used. flag reads the shards, by default `flag_examples`. Raises CorruptArtefact
    if a shard does not match the manifest.
    """
    path = dataset.folder / VALIDATION_NAME
    remove_file(path)  # first, so that no record names a table that is being replaced
    with remove_on_failure(table_folder(workspace, dataset.manifest.dataset_id), path):
        commit_file(path, write_results(workspace, dataset, checks, baseline, flag).to_json())


def write_results(
    workspace: Place,
    dataset: Dataset,
    checks: dict[str, CheckSettings],
    baseline: Dataset | None,
    flag: FlagFunction | None = None,
) -> ValidationRecord:
    """Validate a data set, write only the table, and return the record; arguments as for `validate_dataset`."""
    results = tuple(
        compare_with_thresholds(computed, checks[computed.check])
        for computed in compute_values(dataset, baseline, flag or flag_examples)
        if checks[computed.check].severity != "off"
    )
    identity = {
        "dataset_id": dataset.manifest.dataset_id,
        "dataset_digest": dataset.digest,
        "baseline_digest": baseline.digest if baseline else None,
    }
    rows = [identity | {"schema_version": SCHEMA_VERSION} | result.model_dump() for result in results]
    path = table_folder(workspace, dataset.manifest.dataset_id) / f"{TABLE}.parquet"
    table = write_table(path, pa.Table.from_pylist(rows, VALIDATION_SCHEMA))
    return ValidationRecord(**identity, checks=checks, results=results, table=table)


def compute_values(dataset: Dataset, baseline: Dataset | None, flag: FlagFunction) -> list[CheckValue]:
    """Return the values of all checks; flag reads the shards."""
    return list(compute_check_values(dataset.manifest, flag(dataset), baseline.manifest if baseline else None))


def flag_examples(dataset: Dataset) -> Flagged:
    """Read every shard, check its digest, and return the examples that fail the checks of single examples.

    Holds one shard in memory at a time, then one bucket of keys (32 bytes an example, on disk). This is a loop and not
    a Beam pipeline, which `validation_job` is: 70,000 images are done in less time than the import of Beam takes.
    """
    manifest = dataset.manifest
    names = list(manifest.splits)
    num_examples = sum(split.num_examples for split in manifest.splits.values())
    flagged: Flagged = {}
    with scratch_folder("buckets") as folder:
        buckets = DigestBuckets(folder, num_examples)
        for name, split in manifest.splits.items():
            for shard in split.shards:
                found = check_shard(dataset.folder, manifest, name, shard)
                flagged = add_flagged([flagged, found.flagged])
                buckets.add(found.rows)
        for bucket in buckets:
            flagged = add_flagged([flagged, flag_duplicates(bucket, names)])
    return flagged


class CheckedShard(NamedTuple):
    """The examples of a shard that fail checks of single examples, and the content keys of all."""

    flagged: Flagged
    rows: KeyRows


def check_shard(folder: Place, manifest: Manifest, split: str, shard: ShardInfo) -> CheckedShard:
    """Read a shard of the data set in a folder and check it; raises CorruptArtefact if its digest is another."""
    data = shard.read(folder.parent / manifest.id_of(shard))
    examples = None
    with suppress(CorruptArtefact):  # the file has the right digest but holds no examples of the right size
        examples = decode_shard(data, manifest, split, shard)
    found = flag_shard(examples, shard, len(manifest.class_names))
    flagged = {(check, split): chosen for check, chosen in found.items()}
    if examples is None:
        return CheckedShard(flagged, np.empty(0, KEY_ROW))
    number = list(manifest.splits).index(split)
    return CheckedShard(flagged, pack_keys(content_keys(examples.images), examples.indices, examples.labels, number))


def compare_with_thresholds(computed: CheckValue, settings: CheckSettings) -> CheckResult:
    """Return the result of a check, given its value."""
    check = CHECKS[computed.check]
    flagged = computed.flagged
    return CheckResult(
        check=computed.check,
        split=computed.split,
        value=computed.value,
        num_examples=flagged.num_examples,
        indices=tuple(index for index, _ in flagged.first),
        twin_indices=tuple(twin for _, twin in flagged.first if twin >= 0),
        **settings.model_dump(),
        passed=not check.is_beyond(computed.value, settings.threshold),
        outcome=check.decide(settings, computed.value),
    )
