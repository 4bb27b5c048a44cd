"""Preprocessing as a stage: every source becomes a data set, and several are joined."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import BadInput, BadUsage
from pipeline.beam_runner import capture_engine_messages
from pipeline.context import StageContext, StageLog, quiet_imports, run_unless_complete
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.manifest import (
    MANIFEST_NAME,
    Manifest,
    PreprocessConfig,
    check_dataset,
    check_parts,
    dataset_id,
    load_manifest,
)
from pipeline.preprocess.provenance import Origin, absolute, write_origin
from pipeline.preprocess.validation_config import (
    CheckSettings,
    ValidationRecord,
    check_validation,
    decide,
    is_validated,
)
from pipeline.progress import warn
from pipeline.sources.catalog import KNOWN, AnySource, IdxSource, ParquetSource, PictureOptions

if TYPE_CHECKING:
    from pipeline.preprocess.validation import ValidatedDataset


@dataclass(frozen=True)
class DatasetConfig:
    """What `preprocess` needs to know; see the command line's help."""

    datasets: tuple[str, ...]
    data_dir: str | None
    cache_dir: Path
    num_classes: int | None
    num_shards: int | None
    shuffle_seed: int
    max_rejected: int
    pictures: PictureOptions


def preprocess_stage(settings: StageContext, options: DatasetConfig, log: StageLog) -> Dataset:
    """Make sure that the data set is there: find its sources, scan them, and build what is missing.

    Several sources are built one by one, each as a data set of its own, and joined by a manifest.

    Raises:
        BadUsage: options do not fit the sources, or two sources are the same data.
        BadInput: a source is missing, damaged, or does not fit the others, or has more than max_rejected unusable
            examples.
        CorruptArtefact: the data set is there but no longer what its manifest says.
    """
    from pipeline.preprocess.joined import JoinedPart, join_manifests, write_joint

    _check_fits_sources(options)
    parts, built = len(options.datasets) > 1, list[JoinedPart]()
    for name in options.datasets:
        data, num_source = _preprocess_source(
            settings, options, name, f"preprocess {name}" if parts else "preprocess", log
        )
        built.append(JoinedPart(name, data.manifest, data.digest, num_source))
    if parts:
        joint = join_manifests(built)
        folder = settings.workspace / "datasets" / joint.dataset_id

        def check() -> tuple[Manifest, str]:
            manifest, digest = load_manifest(folder)
            check_parts(folder, manifest, load_manifest)  # their shards were checked above
            return manifest, digest

        complete = (folder / MANIFEST_NAME).exists()
        data = Dataset(
            folder,
            *run_unless_complete("preprocess", complete, lambda: write_joint(folder, joint), check, settings, log),
        )
        write_origin(settings.workspace, _origin(data, options, options.datasets))
    _check_num_rejected(data, options)
    return data


def _preprocess_source(
    settings: StageContext, options: DatasetConfig, name: str, stage: str, log: StageLog
) -> tuple[Dataset, dict[str, int]]:
    """Make sure that one source's data set is there; return it and the examples of each split of its source."""
    with log.timed("source"):
        from pipeline.preprocess.shards import check_size, choose_num_shards
        from pipeline.sources.download import find_source
        from pipeline.sources.scan import scan_source

        data_dir = options.data_dir if name in KNOWN or len(options.datasets) == 1 else None
        source = find_source(name, data_dir, options.cache_dir, options.pictures)
        if len(options.datasets) == 1:
            _check_taken(options.pictures, source)
        scans = scan_source(source, options.num_classes)
        for split, scan in scans.splits.items():
            check_size(scan.num_examples, scans.num_pixels, f"the {split} split of {name}")
        num_train = scans.splits["train"].num_examples
        num_shards = choose_num_shards(options.num_shards, num_train, scans.num_pixels, name)
        config = PreprocessConfig(seed=options.shuffle_seed, num_shards=num_shards)
        folder = settings.workspace / "datasets" / dataset_id(source.name, scans.class_names, config, scans.infos)

    def build() -> None:
        with log.timed("import"), quiet_imports():
            from pipeline.preprocess.beam_job import preprocess
        with log.timed(stage), capture_engine_messages(settings.engine_log):
            preprocess(scans, source.name, config, folder, options.max_rejected, list(settings.beam_arguments))

    complete = (folder / MANIFEST_NAME).exists()
    data = Dataset(folder, *run_unless_complete(stage, complete, build, lambda: check_dataset(folder), settings, log))
    write_origin(settings.workspace, _origin(data, options, (name,)))
    return data, {split: scan.num_examples for split, scan in scans.splits.items()}


def _origin(data: Dataset, options: DatasetConfig, datasets: tuple[str, ...]) -> Origin:
    """Say what was asked for, so that it means the same from another folder.

    The examples that were left out are as many as another try must allow, whatever was allowed in this one.
    """
    places = tuple(map(absolute, datasets))
    takes_data_dir = len(datasets) > 1 or len(options.datasets) == 1 or datasets[0] in KNOWN
    return Origin(
        dataset_id=data.manifest.dataset_id,
        datasets=places,
        data_dir=absolute(options.data_dir) if options.data_dir is not None and takes_data_dir else None,
        num_classes=options.num_classes,
        num_shards=options.num_shards,
        shuffle_seed=options.shuffle_seed,
        max_rejected=data.manifest.num_rejected,
        **options.pictures._asdict(),
    )


def config_from_origin(origin: Origin, cache_dir: Path) -> DatasetConfig:
    """Return what to ask of `preprocess_stage` to build a data set again."""
    return DatasetConfig(
        datasets=origin.datasets,
        data_dir=origin.data_dir,
        cache_dir=cache_dir,
        num_classes=origin.num_classes,
        num_shards=origin.num_shards,
        shuffle_seed=origin.shuffle_seed,
        max_rejected=origin.max_rejected,
        pictures=PictureOptions(origin.image_column, origin.label_column, origin.image_size),
    )


def _check_fits_sources(options: DatasetConfig) -> None:
    """Refuse options that no source, or more than one, would take; raises BadUsage."""
    known = [name for name in options.datasets if name in KNOWN]
    if len(set(options.datasets)) < len(options.datasets):
        raise BadUsage(f"--dataset names a source twice: {', '.join(options.datasets)}")
    if options.data_dir is not None and len(options.datasets) > 1 and len(known) != 1:
        raise BadUsage(f"--data-dir goes with one known data set, and --dataset names {len(known)} of them")
    if any(options.pictures) and len(known) == len(options.datasets):
        raise BadUsage("--image-column, --label-column and --image-size go with data sets of pictures of your own")


def _check_taken(pictures: PictureOptions, source: AnySource) -> None:
    """Refuse options of pictures that this kind of source has no use for; raises BadUsage."""
    columns = pictures.image_column is not None or pictures.label_column is not None
    if columns and not isinstance(source, ParquetSource):
        raise BadUsage(f"--image-column and --label-column go with Parquet files, and {source.name} has none")
    if pictures.image_size is not None and isinstance(source, IdxSource):
        raise BadUsage(f"--image-size goes with pictures, and {source.name} is of IDX files, which say their size")


def _check_num_rejected(data: Dataset, options: DatasetConfig) -> None:
    if data.manifest.num_rejected > options.max_rejected:
        raise BadInput(
            f"{data.folder} leaves out {data.manifest.num_rejected} examples, more than {options.max_rejected} "
            "(--max-rejected)"
        )


def validate_stage(
    settings: StageContext, dataset: Dataset, checks: dict[str, CheckSettings], baseline: Dataset | None, log: StageLog
) -> ValidationRecord:
    """Make sure that the data set was validated with these settings, say what warnings there are, and decide.

    Args:
        settings: of every stage.
        dataset: to validate.
        checks: the settings of every check.
        baseline: an earlier data set to compare with, as `find_baseline` gives it.
        log: is told what was done.

    Raises:
        BadInput: a check of severity error failed.
        CorruptArtefact: a shard, the record or its table is not what it should be.
    """

    def build() -> None:
        with log.timed("validate"):
            from pipeline.preprocess.validation import validate

            validate(settings.workspace, _subject(dataset), checks, _subject(baseline) if baseline else None)

    def check() -> ValidationRecord:
        return check_validation(settings.workspace, dataset.manifest.dataset_id, dataset.digest)

    asked = (checks, baseline.digest if baseline else None)
    complete = is_validated(dataset.folder) and check().asked == asked
    record = run_unless_complete("validate", complete, build, check, settings, log)
    for result in record.with_outcome("warning"):
        warn(f"validate: warning: {result.describe()}")
    decide(record, settings.workspace)
    return record


def _subject(dataset: Dataset) -> "ValidatedDataset":
    from pipeline.preprocess.validation import ValidatedDataset

    return ValidatedDataset(dataset.folder, dataset.manifest, dataset.digest)
