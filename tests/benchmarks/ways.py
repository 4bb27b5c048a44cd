"""The ways to preprocess and to evaluate that `tests.benchmarks.data` compares; each is called in a process of its own.

Each takes the folder of a size, where `source` is the data set, four IDX files, and says what it took.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from model.recipes import find_recipe, fit_to_data, override
from pipeline.context import StageContext, capture_engine_messages
from pipeline.preprocess.dataset import load_dataset
from pipeline.preprocess.manifest import PreprocessConfig, dataset_id
from pipeline.preprocess.shards import default_num_shards
from pipeline.sources.catalog import FILE_NAMES
from pipeline.storage.files import remove_tree
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.stage import quiet_imports
from tests.benchmarks.memory import Measured, watch

NUM_PIXELS, NUM_CLASSES = 784, 10
TWO_WORKERS = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]


def validate_source(place: Path, beam_arguments: list[str]) -> Measured:
    """`backbeam validate`, with the usual checks."""
    with quiet_imports():
        from pipeline.preprocess.validation import flag_examples, validate_dataset
        from pipeline.preprocess.validation_config import resolve_checks
        from pipeline.preprocess.validation_job import flag_by_workers
    folder = _dataset(place)
    dataset = load_dataset(folder)
    flag = partial(flag_by_workers, beam_arguments=beam_arguments) if beam_arguments else flag_examples
    with capture_engine_messages(place / "engine.log"):
        return watch(lambda: validate_dataset(folder.parents[1], dataset, resolve_checks({}), None, flag))


def write_by_a_loop(place: Path) -> Measured:
    """Nothing but protobuf's encoding and TensorFlow's writer, to as many shards."""
    with quiet_imports():
        import tensorflow as tf

        example = make_encoder()

    def work() -> None:
        for split, (images, labels) in enumerate(_read_source(place)):
            num_shards = default_num_shards(len(labels), NUM_PIXELS)
            for shard in range(num_shards):
                with tf.io.TFRecordWriter(str(place / f"loop-{split}-{shard}.tfrecord")) as writer:
                    for index in range(shard, len(labels), num_shards):
                        writer.write(example(index, images[index], labels[index]))

    return watch(work)


def write_by_beam_transforms(place: Path) -> Measured:
    """What a Beam tutorial would write: `Create | Map(encode) | WriteToTFRecord`."""
    with quiet_imports():
        import apache_beam as beam
        from apache_beam.io.tfrecordio import WriteToTFRecord

        example = make_encoder()

    def work() -> None:
        for split, (images, labels) in enumerate(_read_source(place)):
            num_shards = default_num_shards(len(labels), NUM_PIXELS)
            with beam.Pipeline("FnApiRunner") as pipeline:
                (
                    pipeline
                    | beam.Create(list(zip(range(len(labels)), images, labels, strict=True)))
                    | beam.MapTuple(example)
                    | WriteToTFRecord(str(place / f"beam-{split}"), num_shards=num_shards)
                )

    return watch(work)


def preprocess_source(place: Path, workspace: str, beam_arguments: list[str]) -> Measured:
    """`backbeam preprocess`, the scan of the source included."""
    with quiet_imports():
        from pipeline.preprocess import scan_job  # noqa: F401 - imported before the time begins
        from pipeline.preprocess.beam_job import preprocess
        from pipeline.preprocess.scan_runner import open_task_runner, prepare_local_workers
        from pipeline.sources.source_lookup import find_source, scan_source
    parent = place / workspace / "datasets"
    remove_tree(parent)
    context = StageContext(place / workspace, tuple(beam_arguments))

    def work() -> None:
        prepare_local_workers(beam_arguments, "pipeline.preprocess.beam_job")
        with open_task_runner(context) as map_tasks:
            source = find_source(str(place / "source"), None, None)
            scans = scan_source(source, NUM_CLASSES, map_tasks=map_tasks)
        height, width = scans.image_size
        num_shards = default_num_shards(scans.splits["train"].num_examples, height * width)
        config = PreprocessConfig(seed=1, num_shards=num_shards)
        folder = parent / dataset_id("benchmark", scans.class_names, config, scans.infos)
        with capture_engine_messages(place / "engine.log"):
            preprocess(scans, "benchmark", config, folder, 0, beam_arguments)

    return watch(work)


def scan_files(place: Path, beam_arguments: list[str]) -> Measured:
    """The scan alone, which `preprocess` begins with; workers share that of a split of more than a million images."""
    with quiet_imports():
        from pipeline.preprocess import scan_job  # noqa: F401 - imported before the time begins
        from pipeline.preprocess.scan_runner import open_task_runner
        from pipeline.sources.source_lookup import find_source, scan_source
    source = find_source(str(place / "source"), None, None)
    context = StageContext(place / "scanned", tuple(beam_arguments))

    def work() -> None:
        with open_task_runner(context) as map_tasks:
            scan_source(source, NUM_CLASSES, map_tasks=map_tasks)

    return watch(work)


def evaluate_run(place: Path, beam_arguments: list[str]) -> Measured:
    """`backbeam evaluate` of both splits into all tables, of a network that has hardly been trained."""
    with quiet_imports():
        from model.replicas import start_engine
        from pipeline.evaluate.beam_job import evaluate
        from pipeline.train.run_record import RunRecord
        from pipeline.train.trainer import train_runs
        from pipeline.train.training_job import TrainingJob, prepare_attempt

        folder = _dataset(place)
        workspace = folder.parents[1]
        data = load_dataset(folder)
        config = fit_to_data(
            override(find_recipe("article-manual").config, num_steps=1), data.manifest.num_pixels, NUM_CLASSES, 1
        )
        engine = start_engine(config, "cpu", None, "")
    remove_tree(workspace / "runs")
    remove_tree(workspace / "reports")
    job = TrainingJob(workspace, data, tensorboard=False, checkpoint_policy=CheckpointPolicy(every=0))
    train_runs(job, [prepare_attempt(job, config)], engine)
    path = next((workspace / "runs").glob("*/run.json"))
    record = RunRecord.from_json(path.read_bytes(), path)
    with capture_engine_messages(place / "engine.log"):
        return watch(lambda: evaluate(workspace, folder, data.manifest, record, beam_arguments))


def _dataset(place: Path) -> Path:
    return next(place.glob("*/datasets/*"))


def _read_source(place: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    files = [np.fromfile(place / "source" / name, np.uint8) for name in FILE_NAMES]
    for images, labels in ((files[0], files[1]), (files[2], files[3])):
        yield images[16:].reshape(-1, NUM_PIXELS), labels[8:]


def make_encoder() -> Callable[[int, np.ndarray, int], bytes]:
    from tensorflow.train import BytesList, Example, Feature, Features, Int64List

    def example(index: int, image: np.ndarray, label: int) -> bytes:
        features = {
            "image": Feature(bytes_list=BytesList(value=[image.tobytes()])),
            "index": Feature(int64_list=Int64List(value=[index])),
            "label": Feature(int64_list=Int64List(value=[label])),
        }
        serialized: bytes = Example(features=Features(feature=features)).SerializeToString(deterministic=True)
        return serialized

    return example


OURS: dict[str, Callable[[Path], Measured]] = {
    "preprocess": partial(preprocess_source, workspace="one", beam_arguments=[]),
    "preprocess, 2 workers": partial(preprocess_source, workspace="two", beam_arguments=TWO_WORKERS),
    "scan": partial(scan_files, beam_arguments=[]),
    "validate": partial(validate_source, beam_arguments=[]),
    "evaluate": partial(evaluate_run, beam_arguments=[]),
}
# where each worker's start is not most of the time
LARGE = OURS | {
    "scan, 2 workers": partial(scan_files, beam_arguments=TWO_WORKERS),
    "validate, 2 workers": partial(validate_source, beam_arguments=TWO_WORKERS),
    "evaluate, 2 workers": partial(evaluate_run, beam_arguments=TWO_WORKERS),
}
OTHERS: dict[str, Callable[[Path], Measured]] = {
    "a loop with TFRecordWriter": write_by_a_loop,
    "Map(encode) | WriteToTFRecord": write_by_beam_transforms,
}
