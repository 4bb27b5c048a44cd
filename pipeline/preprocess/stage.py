"""The stages `preprocess` and `validate`: skip what is complete, build what is missing, and check it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from model.errors import BadInput, BadUsage
from pipeline.beam_runner import capture_engine_messages
from pipeline.context import StageContext, StageLog, quiet_imports, run_unless_complete
from pipeline.preprocess.dataset import Dataset, check_dataset, check_parts, load_dataset
from pipeline.preprocess.joined import JoinedPart, join_manifests, write_joint
from pipeline.preprocess.manifest import MANIFEST_NAME, PreprocessConfig, dataset_id
from pipeline.preprocess.provenance import Origin, make_absolute, write_origin
from pipeline.preprocess.shards import check_size, choose_num_shards
from pipeline.preprocess.validation_config import (
    CheckSettings,
    ValidationRecord,
    check_validation,
    find_validation,
    require_passed,
)
from pipeline.progress import warn
from pipeline.sources.catalog import KNOWN, PictureOptions


@dataclass(frozen=True)
class DatasetConfig:
    """The options of `preprocess`; docs/cli.md describes each."""

    datasets: tuple[str, ...]
    data_dir: str | None
    cache_dir: Path
    num_classes: int | None
    num_shards: int | None
    shuffle_seed: int
    max_rejected: int
    pictures: PictureOptions


def preprocess_stage(context: StageContext, config: DatasetConfig, log: StageLog) -> Dataset:
    """Build the data set of the given sources unless it is complete: find them, scan them, write shards.

    Each of several sources becomes a data set of its own, and a manifest joins them.

    Raises:
        BadUsage: options do not fit the sources, or two sources have the same content.
        BadInput: a source is missing or damaged, does not fit the others, or has too many unusable examples.
        CorruptArtefact: a complete data set does not match its manifest.
    """
    _check_options(config)
    if len(config.datasets) == 1:
        data = _preprocess_source(context, config, config.datasets[0], "preprocess", log).dataset
    else:
        data = _preprocess_joint(context, config, log)
    if data.manifest.num_rejected > config.max_rejected:
        raise BadInput(
            f"{data.folder} leaves out {data.manifest.num_rejected} examples, more than {config.max_rejected} "
            "(--max-rejected)"
        )
    return data


def _preprocess_joint(context: StageContext, config: DatasetConfig, log: StageLog) -> Dataset:
    parts = [_preprocess_source(context, config, name, f"preprocess {name}", log) for name in config.datasets]
    joint = join_manifests(parts)
    folder = context.workspace / "datasets" / joint.dataset_id

    def check() -> Dataset:
        dataset = load_dataset(folder)
        check_parts(dataset)  # their shards have just been checked
        return dataset

    complete = (folder / MANIFEST_NAME).exists()
    build = partial(write_joint, folder, joint)
    data = run_unless_complete("preprocess", complete, build, check, context, log)
    write_origin(context.workspace, _origin(data, config, config.datasets))
    return data


def _preprocess_source(
    context: StageContext, config: DatasetConfig, name: str, stage: str, log: StageLog
) -> JoinedPart:
    with log.timed("source"):
        # Imported here, so that the time of these imports is logged, and commands that skip the stage do not need them.
        from pipeline.sources.source_lookup import check_options, find_source, scan_source

        data_dir = config.data_dir if name in KNOWN or len(config.datasets) == 1 else None
        source = find_source(name, data_dir, config.cache_dir, config.pictures)
        if len(config.datasets) == 1:
            check_options(config.pictures, source)
        scans = scan_source(source, config.num_classes)
        num_source = {split: scan.num_examples for split, scan in scans.splits.items()}
        for split, num_examples in num_source.items():
            check_size(num_examples, scans.num_pixels, f"the {split} split of {name}")
        num_shards = choose_num_shards(config.num_shards, num_source["train"], scans.num_pixels, name)
        shard_config = PreprocessConfig(seed=config.shuffle_seed, num_shards=num_shards)
        folder = context.workspace / "datasets" / dataset_id(source.name, scans.class_names, shard_config, scans.infos)

    def build() -> None:
        with log.timed("import"), quiet_imports():
            from pipeline.preprocess.beam_job import preprocess
        with log.timed(stage), capture_engine_messages(context.engine_log):
            preprocess(scans, source.name, shard_config, folder, config.max_rejected, list(context.beam_arguments))

    complete = (folder / MANIFEST_NAME).exists()
    data = run_unless_complete(stage, complete, build, lambda: check_dataset(folder), context, log)
    write_origin(context.workspace, _origin(data, config, (name,)))
    return JoinedPart(name, data, num_source)


def _origin(data: Dataset, config: DatasetConfig, datasets: tuple[str, ...]) -> Origin:
    """Return the options that build this data set again from any working directory.

    max_rejected becomes the number of rejected examples: a larger limit in this run makes no difference.
    """
    takes_data_dir = len(datasets) > 1 or len(config.datasets) == 1 or datasets[0] in KNOWN
    return Origin(
        dataset_id=data.manifest.dataset_id,
        datasets=tuple(map(make_absolute, datasets)),
        data_dir=make_absolute(config.data_dir) if config.data_dir is not None and takes_data_dir else None,
        num_classes=config.num_classes,
        num_shards=config.num_shards,
        shuffle_seed=config.shuffle_seed,
        max_rejected=data.manifest.num_rejected,
        **config.pictures._asdict(),
    )


def config_from_origin(origin: Origin, cache_dir: Path) -> DatasetConfig:
    """Return the options with which `preprocess_stage` builds a data set again."""
    options = origin.model_dump(exclude={"format_version", "dataset_id", *PictureOptions._fields})
    pictures = PictureOptions(origin.image_column, origin.label_column, origin.image_size)
    return DatasetConfig(**options, cache_dir=cache_dir, pictures=pictures)


def _check_options(config: DatasetConfig) -> None:
    """Raise BadUsage if a source is named twice, or if an option applies to no source or to several."""
    known = [name for name in config.datasets if name in KNOWN]
    if len(set(config.datasets)) < len(config.datasets):
        raise BadUsage(f"--dataset names a source twice: {', '.join(config.datasets)}")
    if config.data_dir is not None and len(config.datasets) > 1 and len(known) != 1:
        raise BadUsage(f"--data-dir goes with one known data set, and --dataset names {len(known)} of them")
    if any(config.pictures) and len(known) == len(config.datasets):
        raise BadUsage("--image-column, --label-column and --image-size go with data sets of pictures of your own")


def validate_stage(
    context: StageContext, dataset: Dataset, checks: dict[str, CheckSettings], baseline: Dataset | None, log: StageLog
) -> ValidationRecord:
    """Validate a data set unless a record with the same settings is complete, and print its warnings.

    Raises:
        BadInput: a check of severity error failed.
        CorruptArtefact: a shard, the record or its table does not match its digest.
    """

    def build() -> None:
        with log.timed("validate"):
            from pipeline.preprocess.validation import validate_dataset

            validate_dataset(context.workspace, dataset, checks, baseline)

    earlier = find_validation(context.workspace, dataset)
    settings = (checks, baseline.digest if baseline else None)
    complete = earlier is not None and (earlier.checks, earlier.baseline_digest) == settings
    check = partial(check_validation, context.workspace, dataset)
    record = run_unless_complete("validate", complete, build, check, context, log)
    for result in record.with_outcome("warning"):
        warn(f"validate: warning: {result.describe()}")
    require_passed(record, context.workspace)
    return record
