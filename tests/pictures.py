"""Data sets of pictures, made to order: the digits of `tests.helpers` as Parquet files and as a directory tree."""

import io
import json
import pickle
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipeline.sources.blocks import Block, ExampleFormat, SourceScan
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.source_lookup import find_source, scan_source
from tests.helpers import Digits

SPLITS = {"train": 0, "test": 1}


def encode(image: Image.Image, kind: str, **options) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def png(values: np.ndarray) -> bytes:
    return encode(Image.fromarray(values), "PNG")


def split_of(digits: Digits, split: str) -> tuple[list[bytes], list[int]]:
    images, labels = digits.split(SPLITS[split], digits.num_train if split == "train" else digits.num_test)
    return [png(image) for image in images], labels.tolist()


def rows_table(pictures, labels, nested=True, names=None, columns=("image", "label")) -> pa.Table:
    images = [{"bytes": data, "path": None} for data in pictures] if nested else pictures
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if nested else pa.binary()
    fields = [pa.field(columns[0], kind), pa.field(columns[1], pa.int64())]
    features = {columns[1]: {"names": names, "_type": "ClassLabel"}}
    about = {"huggingface": json.dumps({"info": {"features": features}})} if names else None
    return pa.table([pa.array(images, kind), pa.array(labels, pa.int64())], pa.schema(fields, about))


def write_rows(
    folder: Path, digits: Digits | None = None, suffix="", row_group_size=7, compression="snappy", **how
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        table = rows_table(*split_of(digits or Digits(), split), **how)
        pq.write_table(
            table,
            folder / f"{split}{suffix}.parquet",
            row_group_size=row_group_size,
            compression=compression,
            write_page_checksum=True,
        )
    return folder


def write_tree(folder: Path, digits: Digits | None = None) -> Path:
    for split in SPLITS:
        for index, (data, label) in enumerate(zip(*split_of(digits or Digits(), split), strict=True)):
            path = folder / split / str(label) / f"{index:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return folder


def scan_folder(place: object, num_classes: int | None = None, **options) -> SourceScan:
    return scan_source(find_source(str(place), None, Path("no-cache"), PictureOptions(**options)), num_classes)


def read_blocks(scans: SourceScan, split: str) -> list[Block]:
    """Read a split that needs no temporary files as workers do, which unpickle its ranges."""
    target = ExampleFormat(*scans.image_size, len(scans.class_names), scans.channel, scans.first_label, scans.resize)
    with ExitStack() as stack:
        ranges = pickle.loads(pickle.dumps(scans.splits[split].open(stack, Path("no-scratch"))))  # noqa: S301
        return [block for block_range in ranges for block in block_range.read(target)]


def read_reasons(scans: SourceScan, split: str) -> dict[str, str]:
    """Return why examples are rejected, by FILE[INDEX]."""
    rejected = [example for block in read_blocks(scans, split) for example in block.rejected]
    return {f"{example.file}[{example.index}]": example.reason for example in rejected}
