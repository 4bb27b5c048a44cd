"""Where the fuzzers start: sound samples of everything that is read, and what others have choked on.

    python -m tests.fuzz.samples

writes them to seeds/TARGET/, beside the inputs that found something, which stay there: both fuzzers try all of them.
"""

import gzip
import io
import json
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from model.checkpoint import encode_parameters
from model.examples import Examples, encode
from model.fitting import Progress, Standing
from model.lockstep import begin
from model.network import Layer
from model.recipes import RECIPES, TrainingConfig
from pipeline.train import checkpoints
from tests.fuzz.bounded import SEEDS
from tests.helpers import Digits, backbeam, images_bytes, labels_bytes, write_files
from tests.pictures import png, rows_table

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
    """The configuration of the run whose checkpoints are read, and its state at its beginning."""
    config = RECIPES["article-manual"].config.model_copy(update={"layers": (20, 4, 3), "num_steps": 20})
    return config, begin(config)


def samples() -> Iterator[tuple[str, str, bytes]]:
    """Yield target, name and bytes."""
    yield from _idx()
    yield from _pictures()
    yield from _parquet()
    yield from _artefacts()
    yield from _records()
    yield "toml", "sound", TOML
    yield "toml", "deep", b"x = " + b"[" * 3000
    yield "toml", "long-integer", b"[validation.duplicates]\nthreshold = 0x" + b"f" * 4000


def _idx() -> Iterator[tuple[str, str, bytes]]:
    images, labels = (values[:6] for values in Digits(num_train=6).split(0, 6))
    sound, numbers = images_bytes(images), labels_bytes(labels)
    huge = struct.pack(">IIII", 0x803, 2**31, 5, 4) + bytes(20)
    nested = gzip.compress(gzip.compress(gzip.compress(sound, mtime=0), mtime=0), mtime=0)
    for target, data in (("idx-images", sound), ("idx-labels", numbers), ("predicted-file", sound)):
        yield target, "sound", data
        yield target, "sound.gz", gzip.compress(data, mtime=0)
        yield target, "nested.gz", nested
        yield target, "bomb.gz", gzip.compress(data[:8] + bytes(2**20), mtime=0)
        yield target, "huge", huge
        yield target, "many-members.gz", gzip.compress(b"", mtime=0) * 50 + gzip.compress(data, mtime=0)


def _pictures() -> Iterator[tuple[str, str, bytes]]:
    grey = Digits().split(0, 1)[0][0]
    stream = io.BytesIO()
    Image.fromarray(np.kron(grey, np.ones((3, 3), np.uint8))).save(stream, "JPEG")
    for target in ("picture", "predicted-file"):
        yield target, "sound.png", png(grey)
        yield target, "sound.jpg", stream.getvalue()
        yield target, "bomb.png", png_of(50_000, 50_000, zlib.compress(bytes(2**16)))


def png_of(width: int, height: int, pixels: bytes) -> bytes:
    """A PNG file that claims a size; pixels are its compressed rows."""
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", pixels), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _parquet() -> Iterator[tuple[str, str, bytes]]:
    images, labels = Digits(num_train=6).split(0, 6)
    pictures = [png(image) for image in images]
    for name, how in (("plain", {"use_dictionary": False}), ("dictionary", {"use_dictionary": True})):
        for nested in (True, False):
            table = rows_table(pictures, labels.tolist(), nested, names=["a", "b", "c"])
            sink = io.BytesIO()
            pq.write_table(table, sink, compression="none", row_group_size=4, **how)
            yield "parquet-source", f"{name}-{nested}".lower(), sink.getvalue()
    sink = io.BytesIO()
    pq.write_table(pa.table({"run_id": ["a"] * 3, "value": [1.0, float("nan"), 2.0]}), sink, write_page_checksum=True)
    yield "table", "sound", sink.getvalue()


def _artefacts() -> Iterator[tuple[str, str, bytes]]:
    images, labels = Digits(num_train=6).split(0, 6)
    shard = encode(Examples(np.arange(6), images.reshape(6, -1), labels.astype(np.int64)))
    yield "tfrecord", "sound", shard
    yield "tfrecord", "huge", struct.pack("<Q", 2**40) + shard[8:]
    yield "tfrecord", "largest", struct.pack("<Q", 2**64 - 1) + shard[8:]
    layers = (Layer(np.ones((4, 20), np.float32), np.ones(4, np.float32)),)
    yield "parameters", "sound", encode_parameters(layers, {"config": {}, "dataset_digest": "0" * 64})
    for name, header in _safetensors_headers():
        yield "parameters", name, struct.pack("<Q", len(header)) + header + bytes(64)
    yield "parameters", "huge-header", struct.pack("<Q", 2**60) + b"{}"
    yield "checkpoint", "sound", _checkpoint()
    deep = b"[" * 3000
    yield "checkpoint", "deep", struct.pack("<Q", len(deep)) + deep


def _safetensors_headers() -> Iterator[tuple[str, bytes]]:
    for kind in ("BF16", "F8_E4M3", "BOOL", "F64", "U64"):
        yield f"type-{kind.lower()}", json.dumps({"a": _tensor(kind, [1], 0, 8)}).encode()
    yield "overlapping", json.dumps({"a": _tensor("F32", [4], 0, 16), "b": _tensor("F32", [4], 8, 24)}).encode()
    yield "huge-shape", json.dumps({"a": _tensor("F32", [2**32, 2**32], 0, 64)}).encode()
    yield "huge-offsets", json.dumps({"a": _tensor("F32", [16], 2**60, 2**60 + 64)}).encode()
    yield "no-shape", json.dumps({"a": _tensor("F32", [0, 2**62], 0, 0)}).encode()
    yield "deep", b"[" * 3000
    yield "surrogate", b'{"__metadata__": {"backbeam": "\\ud800"}}'


def _tensor(kind: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


def _checkpoint() -> bytes:
    config, state = checkpoint_start()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        curve = (Progress(10, 100, 0.5, 3, 10, 1.0),)
        checkpoints.write_checkpoint(run, config, (), 1, checkpoints.Snapshot(Standing(10, state, (), 0.5), curve))
        [path] = (run / "checkpoints").iterdir()
        return path.read_bytes()


def _records() -> Iterator[tuple[str, str, bytes]]:
    """Take the records of a small run, with rejected examples, by the real command."""
    with tempfile.TemporaryDirectory() as folder:
        files = Digits().files()
        files["train-labels-idx1-ubyte"] = labels_bytes(np.array([7, *(np.arange(59) + 1) % 3]))
        source = write_files(Path(folder) / "digits", files)
        options = ("--num-classes", 3, "--max-rejected", 1, "--num-shards", 2, "--num-steps", 20, "--seeds", "1-2")
        done = backbeam("run", "--workspace", Path(folder) / "ws", "--dataset", source, *options)
        assert done.code == 0, done.err
        for target, pattern in RECORDS.items():
            path = min((Path(folder) / "ws").glob(pattern))
            yield target, "sound.json", path.read_bytes().replace(folder.encode(), b"/folder")
            yield target, "deep.json", b"[" * 3000
            yield target, "repeated-keys.json", b'{"format_version": 1, "format_version": 2, "name": NaN, "a": 1e999}'
            yield target, "not-utf8.json", b'{"name": "\xff\xfe"}'


def main() -> None:
    """Write every sample."""
    for target, name, data in samples():
        path = SEEDS / target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        sys.stdout.write(f"{path}: {len(data)} bytes\n")


if __name__ == "__main__":
    main()
