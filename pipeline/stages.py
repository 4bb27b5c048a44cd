"""The stages in order; what is complete and verifies is skipped.

TensorFlow and Beam take seconds to import, so each is imported by the first stage that has work for it: a run that
finds everything done imports neither.
"""

import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from model.cluster import Cluster
from model.errors import BackbeamError, BadInput, BadUsage, CorruptArtefact
from model.recipes import TrainingConfig, fit_to_data
from pipeline.console import console
from pipeline.manifest import (
    MANIFEST_NAME,
    Manifest,
    PreprocessConfig,
    check_dataset,
    check_parts,
    dataset_id,
    load_manifest,
)
from pipeline.runners import messages_in
from pipeline.runs import (
    EVALUATION_NAME,
    RUN_NAME,
    EvaluationRecord,
    RunRecord,
    check_evaluation,
    check_run,
    find_complete,
    load_run,
    run_id,
)
from pipeline.sources import KNOWN, AnySource, PictureOptions, RowsSource, Source
from pipeline.storage import check_free, file_digest, temporary_files_in
from pipeline.validation import CheckSettings, ValidationRecord, check_validation, decide, is_validated

if TYPE_CHECKING:
    from pipeline.inspection import Named
    from pipeline.pictures import Grey  # NumPy and Pillow are not needed by every command
    from pipeline.predict import Answer, Outputs
    from pipeline.validate import Subject

if TYPE_CHECKING:
    from pipeline.train import Job  # which imports TensorFlow

T = TypeVar("T")


@dataclass(frozen=True)
class DatasetOptions:
    """What `preprocess` needs to know; see the command line's help."""

    datasets: tuple[str, ...]
    data_dir: str | None
    cache_dir: Path
    num_classes: int | None
    num_shards: int | None
    shuffle_seed: int
    max_rejected: int
    pictures: PictureOptions


@dataclass(frozen=True)
class Settings:
    """What every stage needs to know.

    Attributes:
        workspace: the root of everything.
        beam_arguments: options for Beam.
        visible: whether to say on standard error what is going on.
        device: what TensorFlow is to run on; see `model.devices.choose_devices`.
        cluster: the processes that train together; None for this one alone.
    """

    workspace: Path
    beam_arguments: tuple[str, ...]
    visible: bool
    device: str = "auto"
    cluster: Cluster | None = None

    @property
    def engine_log(self) -> Path:
        """What a Beam engine that failed wrote to standard error."""
        return self.workspace / "engine.log"


@dataclass(frozen=True)
class Dataset:
    """A complete data set."""

    folder: Path
    manifest: Manifest
    digest: str


@dataclass(frozen=True)
class Model:
    """A complete run and what must be known of its data set to use it; the data set's shards may be gone."""

    folder: Path
    run: RunRecord
    manifest: Manifest


@dataclass(frozen=True)
class Inspection:
    """What `inspect` shows.

    Attributes:
        dataset: the data set; of its files, only those that were shown are checked.
        statistics: see `inspection.statistics`.
        validation: what was found when it was validated, if it was.
        sheet: the contact sheet's file.
        named: the examples on it, if any were asked for by name.
    """

    dataset: Dataset
    statistics: dict[str, Any]
    validation: ValidationRecord | None
    sheet: Path
    named: "list[Named]"


@dataclass
class Log:
    """What the stages did.

    Attributes:
        seconds: of each stage; "import" is the time that importing TensorFlow and Beam took.
        skipped: stages whose result was there and verified.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - started


def preprocess_stage(settings: Settings, options: DatasetOptions, log: Log) -> Dataset:
    """Make sure that the data set is there: find its sources, scan them, and build what is missing.

    Several sources are built one by one, each as a data set of its own, and joined by a manifest.

    Raises:
        BadUsage: options do not fit the sources, or two sources are the same data.
        BadInput: a source is missing, damaged, or does not fit the others, or has more than max_rejected unusable
            examples.
        CorruptArtefact: the data set is there but no longer what its manifest says.
    """
    from pipeline.joint import Built, join_manifests, write_joint

    _check_fits_sources(options)
    parts, built = len(options.datasets) > 1, list[Built]()
    for name in options.datasets:
        data, num_source = _preprocess_source(
            settings, options, name, f"preprocess {name}" if parts else "preprocess", log
        )
        built.append(Built(name, data.manifest, data.digest, num_source))
    if parts:
        joint = join_manifests(built)
        folder = settings.workspace / "datasets" / joint.dataset_id

        def check() -> tuple[Manifest, str]:
            manifest, digest = load_manifest(folder)
            check_parts(folder, manifest, load_manifest)  # their shards were checked above
            return manifest, digest

        complete = (folder / MANIFEST_NAME).exists()
        data = Dataset(folder, *_once("preprocess", complete, lambda: write_joint(folder, joint), check, settings, log))
    _check_num_rejected(data, options)
    return data


def _preprocess_source(
    settings: Settings, options: DatasetOptions, name: str, stage: str, log: Log
) -> tuple[Dataset, dict[str, int]]:
    """Make sure that one source's data set is there; return it and the examples of each split of its source."""
    with log.timed("source"):
        from pipeline.fetch import find_source
        from pipeline.shards import choose_num_shards
        from pipeline.staging import scan_source

        data_dir = options.data_dir if name in KNOWN or len(options.datasets) == 1 else None
        source = find_source(name, data_dir, options.cache_dir, settings.visible, options.pictures)
        if len(options.datasets) == 1:
            _check_taken(options.pictures, source)
        scans = scan_source(source, options.num_classes)
        num_train = scans.splits["train"].num_examples
        num_shards = choose_num_shards(options.num_shards, num_train, scans.num_pixels, name)
        config = PreprocessConfig(seed=options.shuffle_seed, num_shards=num_shards)
        folder = settings.workspace / "datasets" / dataset_id(source.name, scans.class_names, config, scans.infos)

    def build() -> None:
        with log.timed("import"), quiet_imports():
            from pipeline.preprocess import preprocess
        with log.timed(stage), messages_in(settings.engine_log):
            preprocess(scans, source.name, config, folder, options.max_rejected, list(settings.beam_arguments))

    complete = (folder / MANIFEST_NAME).exists()
    data = Dataset(folder, *_once(stage, complete, build, lambda: check_dataset(folder), settings, log))
    return data, {split: scan.num_examples for split, scan in scans.splits.items()}


def _check_fits_sources(options: DatasetOptions) -> None:
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
    if columns and not isinstance(source, RowsSource):
        raise BadUsage(f"--image-column and --label-column go with Parquet files, and {source.name} has none")
    if pictures.image_size is not None and isinstance(source, Source):
        raise BadUsage(f"--image-size goes with pictures, and {source.name} is of IDX files, which say their size")


def _check_num_rejected(data: Dataset, options: DatasetOptions) -> None:
    if data.manifest.num_rejected > options.max_rejected:
        raise BadInput(
            f"{data.folder} leaves out {data.manifest.num_rejected} examples, more than {options.max_rejected} "
            "(--max-rejected)"
        )


def validate_stage(
    settings: Settings, dataset: Dataset, checks: dict[str, CheckSettings], baseline: Dataset | None, log: Log
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
            from pipeline.validate import validate

            validate(settings.workspace, _subject(dataset), checks, _subject(baseline) if baseline else None)

    def check() -> ValidationRecord:
        return check_validation(settings.workspace, dataset.manifest.dataset_id, dataset.digest)

    asked = (checks, baseline.digest if baseline else None)
    complete = is_validated(dataset.folder) and check().asked == asked
    record = _once("validate", complete, build, check, settings, log)
    if settings.visible:
        for result in record.with_outcome("warning"):
            console.print(f"validate: warning: {result.describe()}", markup=False, soft_wrap=True)
    decide(record, settings.workspace)
    return record


def _subject(dataset: Dataset) -> "Subject":
    from pipeline.validate import Subject

    return Subject(dataset.folder, dataset.manifest, dataset.digest)


def train_stage(
    settings: Settings, dataset: Dataset, configs: Sequence[TrainingConfig], tensorboard: bool, log: Log
) -> list[RunRecord]:
    """Make sure that the runs are there: train those that are missing, side by side if they are several.

    Args:
        settings: of every stage.
        dataset: to train on.
        configs: one, or several that differ in their seeds.
        tensorboard: whether to log for TensorBoard too.
        log: is told what was done.

    Returns:
        the record of each, in order.

    Raises:
        CorruptArtefact: a file of the data set or of a run is not what its record says.
    """
    fitted = [_fit_to(dataset, config) for config in configs]
    folders = [settings.workspace / "runs" / run_id(dataset.digest, config) for config in fitted]
    missing = [config for config, folder in zip(fitted, folders, strict=True) if not (folder / RUN_NAME).exists()]
    if tensorboard:
        _check_logged(folders)

    def build() -> None:
        with log.timed("import"), quiet_imports():
            from model.replicas import start_engine
            from pipeline.train import train

            engine = start_engine(missing[0], settings.device, settings.cluster, folders[0].name)
        with log.timed("train"):
            train(_job(settings, dataset, tensorboard), missing, engine)

    def check() -> list[RunRecord]:
        return [check_run(settings.workspace, folder) for folder in folders]

    return _once("train", not missing, build, check, settings, log)


def _job(settings: Settings, dataset: Dataset, tensorboard: bool) -> "Job":
    from pipeline.train import Job

    return Job(settings.workspace, dataset.folder, dataset.manifest, dataset.digest, tensorboard, settings.visible)


def _check_logged(folders: list[Path]) -> None:
    for folder in folders:
        if (folder / RUN_NAME).exists() and not (folder / "tensorboard").exists():
            raise BadUsage(
                f"{folder} was trained without --tensorboard: delete it to train again, or leave the option out"
            )


def assist_stage(settings: Settings, dataset: Dataset, config: TrainingConfig, log: Log) -> str:
    """Train as a worker that is not the chief: it reads the data set, takes its share of every step, writes nothing.

    Returns:
        the id of the run that the chief writes.

    Raises:
        CorruptArtefact: a file of the data set, or of a run that is there already, is not what its record says.
        EngineFailed: another worker did not come, or is gone.
    """
    fitted = _fit_to(dataset, config)
    folder = settings.workspace / "runs" / run_id(dataset.digest, fitted)

    def build() -> None:
        with log.timed("import"), quiet_imports():
            from model.replicas import start_engine
            from pipeline.train import assist

            engine = start_engine(fitted, settings.device, settings.cluster, folder.name)
        with log.timed("train"):
            assist(_job(settings, dataset, False), fitted, engine)

    if (folder / RUN_NAME).exists():
        _once("train", True, build, lambda: check_run(settings.workspace, folder), settings, log)
    else:
        build()
    return folder.name


def look_for_gpus(settings: Settings, config: TrainingConfig) -> None:
    """Fail before any work if a GPU is asked for by name and is not there; raises BadUsage."""
    if settings.device not in ("auto", "cpu"):
        with quiet_imports():
            from model.devices import initialise_devices

            initialise_devices(settings.device, config.num_replicas)


def evaluate_stage(settings: Settings, dataset: Dataset, runs: Sequence[RunRecord], log: Log) -> list[EvaluationRecord]:
    """Make sure that runs are evaluated on every split of their data set; return their evaluations in order.

    Raises:
        CorruptArtefact: a shard, a model or a table is not what its record says.
    """
    missing = [run for run in runs if not (settings.workspace / "runs" / run.run_id / EVALUATION_NAME).exists()]

    def build() -> None:
        with log.timed("import"), quiet_imports():
            from model.devices import initialise_devices
            from pipeline.evaluate import evaluate

            initialise_devices(settings.device)
        with log.timed("evaluate"), messages_in(settings.engine_log):
            for run in missing:
                evaluate(settings.workspace, dataset.folder, dataset.manifest, run, list(settings.beam_arguments))

    def check() -> list[EvaluationRecord]:
        return [check_evaluation(settings.workspace, run) for run in runs]

    return _once("evaluate", not missing, build, check, settings, log)


def find_dataset(workspace: Path, wanted: str | None) -> Dataset:
    """Find a complete data set of the workspace and check it; see `runs.find_complete`."""
    folder = find_complete(workspace / "datasets", MANIFEST_NAME, wanted, "data set")
    return Dataset(folder, *check_dataset(folder))


def find_baseline(workspace: Path, wanted: str | None) -> Dataset | None:
    """Find a complete data set to compare with, if one is wanted; of its files only the manifest is read."""
    if wanted is None:
        return None
    folder = find_complete(workspace / "datasets", MANIFEST_NAME, wanted, "data set")
    return Dataset(folder, *load_manifest(folder))


def find_run(workspace: Path, wanted: str | None) -> tuple[RunRecord, Dataset]:
    """Find a complete run of the workspace and its data set, and check both.

    Raises:
        CorruptArtefact: a file is not what its record says, or the data set is not the one of the run.
    """
    run = check_run(workspace, find_complete(workspace / "runs", RUN_NAME, wanted, "run"))
    return run, _dataset_of(workspace, run, check_dataset)


def find_model(workspace: Path, wanted: str | None) -> Model:
    """Find a complete run of the workspace and read its record and its data set's manifest, but no shard.

    The parameters are checked when they are read.

    Raises:
        CorruptArtefact: a record is not sound, or the data set is not the one of the run.
    """
    folder = find_complete(workspace / "runs", RUN_NAME, wanted, "run")
    run = load_run(folder)
    return Model(folder, run, _dataset_of(workspace, run, load_manifest).manifest)


def predict_files(model: Model, files: list[str]) -> "list[Answer]":
    """Classify every image of every file by a run's model.

    Raises:
        BadInput: a file is missing, damaged or of no known kind, or an image does not fit the model.
        CorruptArtefact: the parameters are not what the run's record says.
    """
    data = model.run.parameters.read(model.folder)
    with quiet_imports():
        from model.checkpoint import decode_parameters
        from model.devices import initialise_devices
        from model.network import build_network, predict
        from pipeline.predict import answer_files

        initialise_devices()
    config, manifest = model.run.config, model.manifest
    network, parameters = build_network(config.activation, config.output, config.loss), decode_parameters(data)

    def classify(images: "Grey") -> "Outputs":
        outputs: Outputs = predict(network, parameters, images).numpy()
        return outputs

    return answer_files(files, manifest.height, manifest.width, manifest.class_names, classify)


def export_model(model: Model, target: Path) -> None:
    """Write a run's model for other programs.

    Raises:
        BadUsage: target is there already.
        CorruptArtefact: the parameters are not what the run's record says.
    """
    check_free(target)
    data = model.run.parameters.read(model.folder)
    with quiet_imports():
        from model.devices import initialise_devices
        from pipeline.export import export

        initialise_devices()
    run, manifest = model.run, model.manifest
    origin = {
        "run_id": run.run_id,
        "run_digest": file_digest(str(model.folder / RUN_NAME)),
        "dataset_id": run.dataset_id,
        "dataset_digest": run.dataset_digest,
        "versions": run.versions,
    }
    export(target, data, run.config, (manifest.height, manifest.width), manifest.class_names, origin)


def inspect_dataset(
    workspace: Path, wanted: str | None, target: Path | None, split: str, per_class: int, examples: Sequence[str]
) -> Inspection:
    """Work out a data set's statistics and write a contact sheet.

    Args:
        workspace: that holds it.
        wanted: see `runs.find_complete`.
        target: the sheet's folder; None for the workspace's own.
        split: whose classes to show.
        per_class: how many examples of each.
        examples: names of examples to show instead.

    Raises:
        BadUsage: there is no such data set, split or example.
        CorruptArtefact: a file that was read is not what its record says.
    """
    from pipeline import inspection

    folder = find_complete(workspace / "datasets", MANIFEST_NAME, wanted, "data set")
    data = Dataset(folder, *load_manifest(folder))
    inspection.check_split("--split", split, data.manifest)
    names = inspection.parse_examples(examples, data.manifest)
    validation = check_validation(workspace, folder.name, data.digest) if is_validated(folder) else None
    place, named = target or workspace / "inspect" / folder.name, list["Named"]()
    if examples:
        sheet = place / inspection.EXAMPLES_NAME
        named = inspection.write_example_sheet(sheet, folder, data.manifest, names)
    else:
        sheet = place / inspection.CLASSES_NAME
        inspection.write_class_sheet(sheet, folder, data.manifest, split, per_class)
    return Inspection(data, inspection.statistics(data.manifest), validation, sheet, named)


def _dataset_of(workspace: Path, run: RunRecord, load: Callable[[Path], tuple[Manifest, str]]) -> Dataset:
    """Load the data set that a run was trained on."""
    folder = workspace / "datasets" / run.dataset_id
    if not (folder / MANIFEST_NAME).exists():
        raise CorruptArtefact(f"{folder}, the data set of {run.run_id}, is missing: preprocess it again")
    data = Dataset(folder, *load(folder))
    if data.digest != run.dataset_digest:
        raise CorruptArtefact(f"{folder} is not what {run.run_id} was trained on: expected {run.dataset_digest}")
    return data


def _fit_to(dataset: Dataset, config: TrainingConfig) -> TrainingConfig:
    manifest = dataset.manifest
    num_examples = manifest.splits["train"].num_examples
    return fit_to_data(config, manifest.num_pixels, len(manifest.class_names), num_examples)


def _once(
    stage: str, complete: bool, build: Callable[[], None], check: Callable[[], T], settings: Settings, log: Log
) -> T:
    """Build what a stage builds unless it is complete; either way, return it checked."""
    if complete:
        log.skipped.append(stage)
    if settings.visible:
        console.print(f"{stage}: {'already done, checking' if complete else 'working'}", markup=False)
    if not complete:
        with temporary_files_in(settings.workspace):
            build()
    with log.timed(stage):
        return check()


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Keep what native libraries write to standard error while they are imported, and show it only if that fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # native warnings and errors only
    logging.getLogger().addHandler(logging.NullHandler())  # Beam's own warning would set up logging otherwise
    sys.stderr.flush()
    with tempfile.TemporaryFile() as heard:
        kept = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            yield
        except BackbeamError:  # which says all there is to say
            raise
        except BaseException:
            heard.seek(0)
            os.write(kept, heard.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
