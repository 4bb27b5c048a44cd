"""Where the fuzzers start: sound samples of everything that is read.

    python -m tests.fuzz.samples

writes them anew to seeds/TARGET/, beside what others have choked on and the inputs that found something, which stay
there: both fuzzers try all of them.
"""

import gzip
import io
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from model.checkpoint import encode_parameters
from model.examples import Examples
from model.examples import encode as encode_examples
from model.fitting import Progress, Standing
from model.lockstep import begin
from model.network import Layer
from model.recipes import RECIPES, TrainingConfig
from pipeline.train import checkpoints
from pipeline.train.early_parameters import HalfLayer, encode_early, round_to_halves
from tests.examples import example, frame
from tests.fuzz.bounded import SEEDS
from tests.helpers import Digits, build_everything, images_bytes, labels_bytes
from tests.pictures import encode, png, rows_table

RECORDS = {
    "manifest": "datasets/*/manifest.json",
    "validation": "datasets/*/validation.json",
    "origin": "origins/*.json",
    "run": "runs/*/run.json",
    "evaluation": "runs/*/evaluation.json",
    "group": "groups/*.json",
}
TOML = b"""[training]
recipe = "modern"
layers = [784, 30, 10]
weights_rate = 0.25
[validation.duplicates]
severity = "error"
threshold = 0.0
[slices]
thin = "my_slices:thin"
"""


@cache
def checkpoint_start() -> tuple[TrainingConfig, Any]:
    config = RECIPES["article-manual"].config.model_copy(update={"layers": (20, 4, 3), "num_steps": 20})
    return config, begin(config)


def samples() -> Iterator[tuple[str, str, bytes]]:
    images, labels = Digits(num_train=6).split(0, 6)
    for target, name, data in _sources(images, labels):
        yield target, name, data
        if target in ("numpy-source", "parquet-source", "tfrecord-source"):
            yield "predicted-file", f"{target.removesuffix('-source')}-{name}", data
    yield from _artefacts(images, labels)
    yield from _records()
    yield "toml", "sound", TOML


def _sources(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[str, str, bytes]]:
    pixels = images_bytes(images)
    for target, data in (("idx-images", pixels), ("idx-labels", labels_bytes(labels)), ("predicted-file", pixels)):
        yield target, "sound", data
        yield target, "sound.gz", gzip.compress(data, mtime=0)
    yield from _numpy_files(images, labels)
    enlarged = Image.fromarray(np.kron(images[0], np.ones((3, 3), np.uint8)))
    for target in ("picture", "predicted-file"):
        yield target, "sound.png", png(images[0])
        yield target, "sound.jpg", encode(enlarged, "JPEG")
    for kind, options in (("BMP", {}), ("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("PPM", {})):
        yield "picture", f"sound.{kind.lower()}", encode(enlarged, kind, **options)
    yield "picture", "deflate.tiff", encode(enlarged, "TIFF", compression="tiff_adobe_deflate")
    yield "picture", "text.pgm", b"P2 2 2 15 0 15 7 1\n"
    stored = encode_examples(Examples(np.arange(6), images.reshape(6, -1), labels.astype(np.int64)))
    yield "tfrecord-source", "pixels", stored
    yield "tfrecord-source", "pixels.gz", gzip.compress(stored, mtime=0)
    yield "tfrecord-source", "pictures", b"".join(frame(example(png(image), 1)) for image in images)
    rows = [",".join(map(str, (label, *image.reshape(-1)))) for image, label in zip(images, labels, strict=True)]
    yield "csv-source", "numbers", "\n".join(rows).encode()
    names = ",".join(["label", *(f"pixel{number}" for number in range(20))])
    yield "csv-source", "names.gz", gzip.compress("\n".join([names, *(f"c{row}" for row in rows)]).encode(), mtime=0)
    yield "csv-source", "paths", b"path,label\n0.png,a\n../1.png,b\n"
    for name, nested in product(("plain", "dictionary"), (True, False)):
        rows = rows_table([png(image) for image in images], labels.tolist(), nested, names=["a", "b", "c"])
        options = {"compression": "none", "row_group_size": 4, "use_dictionary": name == "dictionary"}
        yield "parquet-source", f"{name}-{nested}".lower(), _parquet_file(rows, **options)

    pixels = pa.FixedSizeListArray.from_arrays(pa.array(images.reshape(-1)), images[0].size)
    table = pa.table({"image": pixels.cast(pa.list_(pa.uint8())), "label": [f"c{label}" for label in labels]})
    yield "parquet-source", "lists", _parquet_file(table, compression="none", row_group_size=4)


def _numpy_files(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[str, str, bytes]]:
    arrays = {"x_train": images, "y_train": labels.astype(np.int64), "x_test": images, "y_test": labels}
    for name, save in (("stored", np.savez), ("compressed", np.savez_compressed)):
        sink = io.BytesIO()
        save(sink, **arrays)
        yield "numpy-source", name, sink.getvalue()


def _parquet_file(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def png_of(width: int, height: int, pixels: bytes) -> bytes:
    """A PNG file that claims a size; pixels are its compressed rows."""
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", pixels), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _artefacts(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[str, str, bytes]]:
    yield "tfrecord", "sound", encode_examples(Examples(np.arange(6), images.reshape(6, -1), labels.astype(np.int64)))
    layers = (Layer(np.ones((4, 20), np.float32), np.ones(4, np.float32)),)
    yield "parameters", "sound", encode_parameters(layers, {"config": {}, "dataset_digest": "0" * 64})
    yield "early-parameters", "sound", encode_early({10: _early_layers()}, "run")
    yield "checkpoint", "sound", _checkpoint()
    values = pa.table({"run_id": ["a"] * 3, "value": [1.0, float("nan"), 2.0]})
    yield "table", "sound", _parquet_file(values, write_page_checksum=True)


def _early_layers() -> tuple[HalfLayer, ...]:
    layers = round_to_halves(checkpoint_start()[1].parameters)
    assert layers
    return layers


def _checkpoint() -> bytes:
    config, state = checkpoint_start()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        curve = (Progress(10, 100, 0.5, 3, 10, 1.0),)
        snapshot = checkpoints.Snapshot(Standing(10, state, (), 0.5), curve, early={100: _early_layers()})
        checkpoints.write_checkpoint(run, config, (), 1, snapshot)
        [path] = (run / "checkpoints").iterdir()
        return path.read_bytes()


def _records() -> Iterator[tuple[str, str, bytes]]:
    with tempfile.TemporaryDirectory() as folder:
        build_everything(Path(folder))
        for target, pattern in RECORDS.items():
            path = min((Path(folder) / "ws").glob(pattern))
            yield target, "sound.json", path.read_bytes().replace(folder.encode(), b"/folder")


def main() -> None:
    for target, name, data in samples():
        path = SEEDS / target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        sys.stdout.write(f"{path}: {len(data)} bytes\n")


if __name__ == "__main__":
    main()
