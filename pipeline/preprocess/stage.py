"""The stages `preprocess` and `validate`: skip what is complete, build what is missing, and check it."""

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from model.errors import BadInput, BadUsage
from pipeline.context import StageContext, StageLog, capture_engine_messages, quiet_imports, run_unless_complete
from pipeline.preprocess.dataset import Dataset, check_parts, load_dataset
from pipeline.preprocess.joined import JoinedPart, join_manifests, write_joint
from pipeline.preprocess.manifest import MANIFEST_NAME, PreprocessConfig, dataset_id
from pipeline.preprocess.provenance import Origin, make_absolute, write_origin
from pipeline.preprocess.scan_runner import check_by_workers, open_task_runner, pays_workers, prepare_local_workers
from pipeline.preprocess.shards import check_size, choose_num_shards
from pipeline.preprocess.validation_config import (
    CheckSettings,
    ValidationRecord,
    check_validation,
    find_validation,
    require_passed,
)
from pipeline.progress import warn
from pipeline.sources.catalog import (
    DEFAULT_DATASET,
    KNOWN,
    MAX_CLASSES,
    MAX_INTEGER,
    MAX_SHARDS,
    SPLITS,
    InapplicableOption,
    PictureOptions,
    ResizeMode,
)
from pipeline.sources.scan_tasks import MapTasks, map_here
from pipeline.sources.source_patterns import expand_sources
from pipeline.storage.places import Place

if TYPE_CHECKING:
    from pipeline.sources.blocks import SourceScan  # imports NumPy


@dataclass(frozen=True)
class DatasetConfig:
    """The options of `preprocess`; docs/cli.md describes each."""

    datasets: tuple[str, ...] = (DEFAULT_DATASET,)
    data_dir: str | None = None
    cache_dir: Path | None = None  # None is the default one
    num_classes: int | None = None
    num_shards: int | None = None
    shuffle_seed: int = 1
    max_rejected: int = 0
    pictures: PictureOptions = field(default_factory=PictureOptions)
    first_label: int = 0
    names: tuple[str, ...] = ()  # that the sources get, in their order, instead of those of their places
    splits: tuple[str, ...] = SPLITS  # that are kept of those that the sources have
    class_names: tuple[str, ...] = ()  # in the order of the labels, if they are those of another source

    def __post_init__(self) -> None:
        """Raise BadUsage if a number is too small or too large."""
        _check_range("--num-classes", self.num_classes, 1, MAX_CLASSES)
        _check_range("--num-shards", self.num_shards, 1, MAX_SHARDS)
        _check_range("--shuffle-seed", self.shuffle_seed, 0, MAX_INTEGER)
        _check_range("--max-rejected", self.max_rejected, 0, MAX_INTEGER)
        _check_range("--first-label", self.first_label, 0, 255)
        _check_resizing(self.pictures)
        share = self.pictures.test_share
        if share is not None and not 0 < share < 1:
            raise BadUsage(f"--test-share is {share}, expected a number between 0 and 1, such as 0.2")
        if share is not None and self.pictures.split_by is not None:
            raise BadUsage("give --split-by, the column that says the splits, or --test-share, not both")


def _check_resizing(pictures: PictureOptions) -> None:
    if pictures.resize_mode not in (None, *get_args(ResizeMode)):
        raise BadUsage(f"--resize-mode is {pictures.resize_mode!r}, expected {', '.join(get_args(ResizeMode))}")
    if pictures.resize_mode and not pictures.resize:
        raise BadUsage(f"--resize-mode {pictures.resize_mode} goes with --resize HxW, the size to scale to")
    if pictures.resize and pictures.image_size:
        raise BadUsage("give --resize, to which pictures are scaled, or --image-size, that they must have, not both")


def _check_range(option: str, value: int | None, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        raise BadUsage(f"{option} is {value}, expected {least} to {most:,}")


class ScannedDataset(NamedTuple):
    """A source that was scanned, and the data set that it becomes."""

    scans: "SourceScan"
    name: str
    config: PreprocessConfig
    folder: Place
    pictures: PictureOptions  # those that apply to the source, and so the next
    first_label: int


def preprocess_stage(context: StageContext, config: DatasetConfig, log: StageLog) -> Dataset:
    """Build the data set of the given sources unless it is complete: find them, scan them, write shards.

    A pattern of sources stands for those that match it. Each of several sources becomes a data set of its own, with the
    classes of the first, and a manifest joins them.

    Raises:
        BadUsage: options do not fit the sources, or two sources have the same content.
        BadInput: a source is missing or damaged, does not fit the others, or has too many unusable examples.
        CorruptArtefact: a complete data set does not match its manifest.
    """
    config = replace(config, datasets=expand_sources(config.datasets))
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
    parts = list[JoinedPart]()
    for name in config.datasets:
        class_names = parts[0].dataset.manifest.class_names if parts else ()
        part_config = replace(config, class_names=class_names)
        parts.append(_preprocess_source(context, part_config, name, f"preprocess {name}", log))
    _check_all_apply(config, parts)
    joint = join_manifests(parts)
    folder = context.workspace / "datasets" / joint.dataset_id

    def check() -> Dataset:
        dataset = load_dataset(folder)
        check_parts(dataset)  # their shards have just been checked
        return dataset

    complete = (folder / MANIFEST_NAME).exists()
    build = partial(write_joint, folder, joint)
    data = run_unless_complete("preprocess", complete, build, check, context, log)
    write_origin(context.workspace, describe_origin(data, config, config.datasets), is_new=not complete)
    return data


def _preprocess_source(
    context: StageContext, config: DatasetConfig, name: str, stage: str, log: StageLog
) -> JoinedPart:
    prepare_local_workers(context.beam_arguments, "pipeline.preprocess.beam_job")
    with log.timed("source"), open_task_runner(context) as map_tasks:
        found = scan_dataset(context.workspace, config, name, map_tasks)
        folder = found.folder

    def build() -> None:
        with log.timed("import"), quiet_imports():
            from pipeline.preprocess.beam_job import preprocess
        with log.timed(stage), capture_engine_messages(context.engine_log):
            beam_arguments = list(context.beam_arguments)
            preprocess(found.scans, found.name, found.config, folder, config.max_rejected, beam_arguments)

    complete = (folder / MANIFEST_NAME).exists()
    data = run_unless_complete(stage, complete, build, lambda: check_by_workers(context, folder), context, log)
    # Other options would be refused when the part is built again alone.
    applied = replace(config, pictures=found.pictures, first_label=found.first_label)
    write_origin(context.workspace, describe_origin(data, applied, (name,)), is_new=not complete)
    num_source = {split: scan.num_examples for split, scan in found.scans.splits.items()}
    return JoinedPart(name, data, num_source, found.pictures, found.first_label)


def scan_dataset(workspace: Place, config: DatasetConfig, name: str, map_tasks: MapTasks = map_here) -> ScannedDataset:
    """Find and scan one of the sources of a configuration; raises BadUsage and BadInput as `preprocess_stage`.

    map_tasks runs the tasks of the scan of a large source.
    """
    try:
        return _scan_dataset(workspace, config, name, map_tasks)
    except InapplicableOption as problem:
        if len(config.datasets) == 1:
            raise
        warn(f"{name} is read without {_option_of(problem.fields[0])}, which goes to other sources: {problem.reason}")
        return scan_dataset(workspace, _without(config, problem.fields), name, map_tasks)


def _without(config: DatasetConfig, options: tuple[str, ...]) -> DatasetConfig:
    first_label = 0 if "first_label" in options else config.first_label
    pictures = config.pictures._replace(**{name: None for name in options if name != "first_label"})
    return replace(config, pictures=pictures, first_label=first_label)


def _scan_dataset(workspace: Place, config: DatasetConfig, name: str, map_tasks: MapTasks) -> ScannedDataset:
    # Imported here, so that the time of these imports is logged, and commands that skip the stage do not need them.
    from pipeline.sources.source_lookup import check_options, choose_options, find_source, scan_source

    data_dir = config.data_dir if name in KNOWN or len(config.datasets) == 1 else None
    source = find_source(name, data_dir, config.cache_dir, config.pictures)
    pictures = PictureOptions() if name in KNOWN else choose_options(config.pictures, source)
    names = dict(zip(config.datasets, config.names, strict=False))
    source = source._replace(name=names.get(name, source.name))
    if len(config.datasets) == 1:
        check_options(config.pictures, source)
    scans = scan_source(source, config.num_classes, config.first_label, config.class_names, map_tasks)
    scans = scans._replace(splits={split: scan for split, scan in scans.splits.items() if split in config.splits})
    for split, scan in scans.splits.items():
        check_size(scan.num_examples, scans.num_pixels, f"the {split} split of {name}")
    num_shards = choose_num_shards(config.num_shards, scans.splits["train"].num_examples, scans.num_pixels, name)
    shard_config = PreprocessConfig(seed=config.shuffle_seed, num_shards=num_shards)
    folder = workspace / "datasets" / dataset_id(source.name, scans.class_names, shard_config, scans.infos)
    return ScannedDataset(scans, source.name, shard_config, folder, pictures, config.first_label)


def describe_origin(data: Dataset, config: DatasetConfig, datasets: tuple[str, ...]) -> Origin:
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
        first_label=config.first_label,
        class_names=config.class_names,
        **config.pictures._asdict(),
    )


def config_from_origin(origin: Origin) -> DatasetConfig:
    """Return the options with which `preprocess_stage` builds a data set again."""
    options = origin.model_dump(
        exclude={"format_version", "dataset_id", "first_label", "made", *PictureOptions._fields}
    )
    pictures = PictureOptions(**{name: getattr(origin, name) for name in PictureOptions._fields})
    return DatasetConfig(**options, cache_dir=None, pictures=pictures, first_label=origin.first_label)


def _check_options(config: DatasetConfig) -> None:
    """Raise BadUsage if a source is named twice, or if an option applies to no source or to several."""
    known = [name for name in config.datasets if name in KNOWN]
    if len(set(config.datasets)) < len(config.datasets):
        raise BadUsage(f"--dataset names a source twice: {', '.join(config.datasets)}")
    if config.data_dir is not None and len(config.datasets) > 1 and len(known) != 1:
        raise BadUsage(f"--data-dir goes with one known data set, and --dataset names {len(known)} of them")
    given = [_option_of(name) for name, value in config.pictures._asdict().items() if value is not None]
    if given and len(known) == len(config.datasets):
        raise BadUsage(f"{', '.join(given)}: only data sets of your own take this, and {', '.join(known)} is none")


def _option_of(field_name: str) -> str:
    return f"--{field_name.replace('_', '-')}"


def _check_all_apply(config: DatasetConfig, parts: list[JoinedPart]) -> None:
    """Raise BadUsage if one of the user's options applied to none of the sources."""
    requested = config.pictures._asdict() | {"first_label": config.first_label or None}
    applied = [part.pictures._asdict() | {"first_label": part.first_label or None} for part in parts]
    for name, value in requested.items():
        if value is not None and all(each[name] is None for each in applied):
            raise BadUsage(f"{_option_of(name)} fits none of the sources: leave it out")


def validate_stage(
    context: StageContext, dataset: Dataset, checks: dict[str, CheckSettings], baseline: Dataset | None, log: StageLog
) -> ValidationRecord:
    """Validate a data set unless a record with the same settings is complete, and print its warnings.

    If the options for Beam give workers and the data set is large, a Beam pipeline reads the shards.

    Raises:
        BadInput: a check of severity error failed.
        CorruptArtefact: a shard, the record or its table does not match its digest.
    """
    num_bytes = sum(shard.num_bytes for split in dataset.manifest.splits.values() for shard in split.shards)

    def build() -> None:
        flag = None
        if pays_workers(context.beam_arguments, num_bytes):
            with log.timed("import"), quiet_imports():
                from pipeline.preprocess.validation_job import flag_by_workers
            flag = partial(flag_by_workers, beam_arguments=list(context.beam_arguments))
        with log.timed("validate"):
            from pipeline.preprocess.validation import validate_dataset

            # An engine's messages are captured; without one, the log of an earlier failure stays.
            with capture_engine_messages(context.engine_log) if flag else nullcontext():
                validate_dataset(context.workspace, dataset, checks, baseline, flag)

    earlier = find_validation(context.workspace, dataset)
    settings = (checks, baseline.digest if baseline else None)
    complete = earlier is not None and (earlier.checks, earlier.baseline_digest) == settings
    check = partial(check_validation, context.workspace, dataset)
    record = run_unless_complete("validate", complete, build, check, context, log)
    for result in record.with_outcome("warning"):
        warn(f"validate: warning: {result.describe()}")
    require_passed(record, context.workspace)
    return record
