"""Validate a data set: shards -> flagged examples -> values of the checks -> table of results -> record."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress

import pyarrow as pa

from model.errors import CorruptArtefact
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.duplicate_images import DigestBuckets, content_keys, pack_keys
from pipeline.preprocess.shards import decode_shard
from pipeline.preprocess.validation_checks import (
    CheckValue,
    FlaggedExamples,
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


def validate_dataset(
    workspace: Place, dataset: Dataset, checks: dict[str, CheckSettings], baseline: Dataset | None
) -> None:
    """Validate a data set and write the table `validation`, then the record; earlier ones are replaced.

    Of the baseline only the manifest is used. Raises CorruptArtefact if a shard does not match the manifest.
    """
    path = dataset.folder / VALIDATION_NAME
    remove_file(path)  # first, so that no record names a table that is being replaced
    with remove_on_failure(table_folder(workspace, dataset.manifest.dataset_id), path):
        commit_file(path, write_results(workspace, dataset, checks, baseline).to_json())


def write_results(
    workspace: Place, dataset: Dataset, checks: dict[str, CheckSettings], baseline: Dataset | None
) -> ValidationRecord:
    """Validate a data set, write only the table, and return the record; arguments as for `validate_dataset`."""
    results = tuple(
        compare_with_thresholds(computed, checks[computed.check])
        for computed in compute_values(dataset, baseline)
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


def compute_values(dataset: Dataset, baseline: Dataset | None) -> list[CheckValue]:
    """Read every shard, check its digest, and return the values of all checks.

    Holds one shard in memory at a time, then one bucket of keys (32 bytes an example, on disk). This is a loop and not
    a Beam pipeline: duplicates may be in any two shards, so all keys must be gathered in one place, and 70,000 images
    are done in less time than the import of Beam takes.
    """
    splits = dataset.manifest.splits
    flagged = defaultdict[tuple[str, str], FlaggedExamples](FlaggedExamples)
    with scratch_folder("buckets") as folder:
        buckets = DigestBuckets(folder, sum(split.num_examples for split in splits.values()))
        for key, examples in _flag_shards(dataset, buckets):
            flagged[key] = flagged[key].add(examples)
        for bucket in buckets:
            for key, examples in flag_duplicates(bucket, list(splits)):
                flagged[key] = flagged[key].add(examples)
    return list(compute_check_values(dataset.manifest, flagged, baseline.manifest if baseline else None))


def _flag_shards(dataset: Dataset, buckets: DigestBuckets) -> Iterator[tuple[tuple[str, str], FlaggedExamples]]:
    """Yield ((check, split), flagged examples) of each shard, and add the keys of its examples to buckets."""
    manifest = dataset.manifest
    for number, (name, split) in enumerate(manifest.splits.items()):
        for shard in split.shards:
            data = shard.read(dataset.folder.parent / manifest.id_of(shard))
            examples = None
            with suppress(CorruptArtefact):  # the file has the right digest but holds no examples of the right size
                examples = decode_shard(data, manifest, name, shard)
            for check, flagged in flag_shard(examples, shard, len(manifest.class_names)).items():
                yield (check, name), flagged
            if examples is not None:
                buckets.add(pack_keys(content_keys(examples.images), examples.indices, examples.labels, number))


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
