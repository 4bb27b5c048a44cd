"""Every reader of foreign bytes as a function of bytes, for both fuzzers: only documented errors are expected."""

import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

from model.checkpoint import decode_parameters
from model.errors import BadInput, BadUsage, CorruptArtefact, UnknownFormat
from model.examples import decode
from pipeline.cli.config import read_tables, resolve_training, resolve_validation
from pipeline.evaluate import image_files
from pipeline.evaluate.evaluation_record import EvaluationRecord
from pipeline.evaluate.seeds import GroupRecord
from pipeline.preprocess.manifest import Manifest
from pipeline.preprocess.provenance import Origin
from pipeline.preprocess.shards import decode_shard
from pipeline.preprocess.validation_config import ValidationRecord
from pipeline.sources.blocks import ExampleFormat
from pipeline.sources.catalog import FILE_NAMES, AnySource, IdxSource, ParquetSource, PictureOptions
from pipeline.sources.csv_files import CsvSource
from pipeline.sources.image_decoding import decode_image, decode_picture
from pipeline.sources.picture_conversion import prepare_picture
from pipeline.sources.source_lookup import find_source, scan_source
from pipeline.sources.tfrecord_source import TfrecordSource
from pipeline.storage.records import Record
from pipeline.storage.tables import read_table
from pipeline.train import checkpoints
from pipeline.train.early_parameters import decode_early
from pipeline.train.run_record import RunRecord
from tests.helpers import Digits
from tests.hostile.forging import seal

HEIGHT, WIDTH, NUM_CLASSES = 5, 4, 3  # of the samples
Target = Callable[[bytes], None]


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    """A folder of this process, deleted at its end: `digits` is sound, other files are what is read."""
    made = tempfile.TemporaryDirectory(prefix="backbeam-fuzz-")
    Digits(num_train=6, num_test=3).write(Path(made.name) / "digits")
    return made


def _folder() -> Path:
    return Path(_temporary().name)


def clean_up() -> None:
    _temporary().cleanup()
    _temporary.cache_clear()


def _placed(data: bytes, name: str = "input") -> Path:
    path = _folder() / name
    path.write_bytes(data)
    return path


def idx_reader(number: int) -> Target:
    """Return a target that scans a data set of which one file is foreign, and reads what it scanned, as workers do."""

    def read(data: bytes) -> None:
        files = [_folder() / "digits" / name for name in FILE_NAMES]
        files[number] = _placed(data)
        _read_source(IdxSource("fuzz", tuple(files), None))

    return read


def parquet_source(data: bytes) -> None:
    place = _placed(data, "input.parquet")
    with suppress(BadInput, BadUsage):
        _read_source(ParquetSource("fuzz", {"train": (place,), "test": (place,)}, PictureOptions()))


def numpy_source(data: bytes) -> None:
    place = _placed(data, "input.npz")
    with suppress(BadInput):
        source = find_source(str(place), None, None)
        _read_source(source)


def csv_source(data: bytes) -> None:
    place = _placed(data, "input.csv")
    with suppress(BadInput, BadUsage):
        _read_source(
            CsvSource("fuzz", {"train": (place,), "test": (place,)}, PictureOptions(image_size=(HEIGHT, WIDTH)))
        )


def tfrecord_source(data: bytes) -> None:
    place = _placed(data, "input.tfrecord")
    with suppress(BadInput, BadUsage):
        options = PictureOptions(image_size=(HEIGHT, WIDTH))
        _read_source(TfrecordSource("fuzz", {"train": (place,), "test": (place,)}, options))


def _read_source(source: AnySource) -> None:
    with suppress(BadInput), ExitStack() as stack:
        scans = scan_source(source)
        target = ExampleFormat(*scans.image_size, len(scans.class_names))
        for scan in scans.splits.values():
            for block_range in scan.open(stack, _folder()):
                for _ in block_range.read(target):
                    pass


def predicted_file(data: bytes) -> None:
    with suppress(BadInput):
        for _ in image_files.read_items(str(_placed(data)), image_files.ModelImages(HEIGHT, WIDTH, ())):
            pass


def picture(data: bytes) -> None:
    with suppress(BadInput):
        prepare_picture(decode_picture(data, "input"), HEIGHT, WIDTH, "input")
    with suppress(BadInput):
        decode_image(data, "input", "grey")


def tfrecord(data: bytes) -> None:
    with suppress(CorruptArtefact):
        decode(data, HEIGHT * WIDTH)


def parameters(data: bytes) -> None:
    with suppress(CorruptArtefact):
        decode_parameters(data)


def early_parameters(data: bytes) -> None:
    from tests.fuzz.samples import checkpoint_start

    config, _ = checkpoint_start()
    with suppress(CorruptArtefact, UnknownFormat):
        decode_early(data, Path("input"), config)


def checkpoint(data: bytes) -> None:
    """Find and take up the checkpoint of a run; the name states the digest, as that of a forged one would."""
    from tests.fuzz.samples import checkpoint_start

    config, start = checkpoint_start()
    folder = _folder() / "run"
    place = folder / "checkpoints" / checkpoints._file_name(10, data)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    try:
        with suppress(CorruptArtefact, UnknownFormat):
            checkpoints.resume_from(checkpoints.find_newest_checkpoint(folder, config), start, config)
    finally:
        place.unlink()


def toml(data: bytes) -> None:
    """Read a configuration; the functions that it names as slicings are not imported, since they are code."""
    path = _placed(data, "input.toml")
    for read in (lambda: resolve_training(path, {}), lambda: resolve_validation(path)):
        with suppress(BadUsage):
            read()
    with suppress(BadUsage):
        read_tables(path)


def table(data: bytes) -> None:
    with suppress(CorruptArtefact):
        read_table(_placed(data, "table.parquet")).to_pylist()


def record_of(kind: type[Record], use: Callable[..., object]) -> Target:
    """Return the target of a kind of record: of bytes as they are, and sealed with their digest."""

    def read(data: bytes) -> None:
        for each in (data, _sealed(data)):
            with suppress(CorruptArtefact, UnknownFormat):
                use(kind.from_json(each, Path("record.json")))

    return read


def _sealed(data: bytes) -> bytes:
    """Write JSON as records are written, its digest right, so that what it says is looked at and not only that."""
    try:
        return seal(json.loads(data))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return data


def _use_manifest(manifest: Manifest) -> None:
    assert manifest.dataset_id
    for name, split in manifest.splits.items():
        for shard in split.shards[:3]:
            assert _is_inside(manifest.id_of(shard), shard.name)
            manifest.offset(name, shard)
            decode_shard(b"", manifest, name, shard)


def _use_run(run: RunRecord) -> None:
    assert run.config.digest
    assert _is_inside(run.dataset_id, run.run_id, *(each.name for each in run.parameter_files))
    assert all(_is_inside(*str(each.folder(Path(), run.run_id)).split("/"), each.name) for each in run.tables)


def _use_evaluation(evaluation: EvaluationRecord) -> None:
    assert evaluation.test_result()
    run_id = evaluation.run_id
    assert all(_is_inside(*str(each.folder(Path(), run_id)).split("/"), each.name) for each in evaluation.tables)


def _use_validation(validation: ValidationRecord) -> None:
    assert _is_inside(validation.dataset_id, validation.table.name)
    assert all(result.describe() and result.examples() is not None for result in validation.results)


def _use_group(group: GroupRecord) -> None:
    assert _is_inside(group.group_id, *group.run_ids, group.table.table, group.table.name)


def _is_inside(*names: str) -> bool:
    return all(name not in ("", ".", "..") and not set(name) & set("/\\\0\n") for name in names)


TARGETS: dict[str, Target] = {
    "idx-images": idx_reader(0),
    "idx-labels": idx_reader(1),
    "predicted-file": predicted_file,
    "picture": picture,
    "parquet-source": parquet_source,
    "numpy-source": numpy_source,
    "csv-source": csv_source,
    "tfrecord-source": tfrecord_source,
    "table": table,
    "tfrecord": tfrecord,
    "parameters": parameters,
    "early-parameters": early_parameters,
    "checkpoint": checkpoint,
    "toml": toml,
    "manifest": record_of(Manifest, _use_manifest),
    "run": record_of(RunRecord, _use_run),
    "evaluation": record_of(EvaluationRecord, _use_evaluation),
    "validation": record_of(ValidationRecord, _use_validation),
    "group": record_of(GroupRecord, _use_group),
    "origin": record_of(Origin, vars),
}
