"""What it takes to preprocess a tree of PNG files, beside Pillow alone and a plain loop. See README.md beside this.

    python -m tests.benchmarks.pictures

Exit codes: 0 done, however fast; those of backbeam if something failed; 2 usage.
"""

import io
import tempfile
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from pipeline.context import quiet_imports
from pipeline.preprocess.shards import default_num_shards
from pipeline.sources.catalog import REQUIRED_SPLITS
from pipeline.sources.image_decoding import decode_image
from tests.benchmarks.cases import read_digits
from tests.benchmarks.common import Folder, Output, Row, describe_machine, errors_end, save
from tests.benchmarks.data import SMALL, measure, table
from tests.benchmarks.memory import Measured, check_measurable, watch
from tests.benchmarks.ways import NUM_PIXELS, TWO_WORKERS, make_encoder, preprocess_source


def main(
    num_examples: Annotated[int, typer.Option(min=70, help="Pictures, a seventh of them in the test split.")] = SMALL,
    repeats: Annotated[int, typer.Option(min=1, help="Times, in turn.")] = 3,
    folder: Folder = None,
    output: Output = Path("build/benchmarks/pictures.parquet"),
) -> None:
    """Compare the seconds, and those of the processor, which other programs disturb less."""
    with tempfile.TemporaryDirectory(prefix="backbeam-benchmark-", dir=folder) as temporary, errors_end("pictures"):
        check_measurable()
        rows = list(measure(Path(temporary), num_examples, WAYS, repeats, write_tree))
        typer.echo("\n".join(["", describe_machine(), *table(rows), "", *compare(rows), save(output, rows)]))


def write_tree(folder: Path, num_train: int, num_test: int) -> None:
    """Write digits, again and again, as folder/SPLIT/CLASS/NUMBER.png."""
    _, images, labels = read_digits()
    for split, label in product(REQUIRED_SPLITS, range(10)):
        (folder / split / str(label)).mkdir(parents=True)
    for split, size in zip(REQUIRED_SPLITS, (num_train, num_test), strict=True):
        for number in range(size):
            position = number % len(labels)
            path = folder / split / str(labels[position]) / f"{number:07d}.png"
            Image.fromarray(images[position].reshape(28, 28)).save(path)


def decode_by_pillow(place: Path) -> Measured:
    """Nothing but Pillow, which is given the bytes of each file."""
    files = _read_files(place)

    def work() -> None:
        for data in files:
            with Image.open(io.BytesIO(data)) as picture:
                np.asarray(picture.convert("L"))

    return watch(work)


def decode_by_backbeam(place: Path) -> Measured:
    """The decoder of preprocessing, which verifies checksums too."""
    files = _read_files(place)

    def work() -> None:
        for data in files:
            decode_image(data, "picture", "grey")

    return watch(work)


def write_by_a_loop(place: Path) -> Measured:
    """Pillow, protobuf's encoding and TensorFlow's writer, to as many shards."""
    with quiet_imports():
        import tensorflow as tf

        example = make_encoder()

    def work() -> None:
        for split in REQUIRED_SPLITS:
            paths = sorted((place / "source" / split).glob("*/*.png"))
            num_shards = default_num_shards(len(paths), NUM_PIXELS)
            for shard in range(num_shards):
                with tf.io.TFRecordWriter(str(place / f"loop-{split}-{shard}.tfrecord")) as writer:
                    for index in range(shard, len(paths), num_shards):
                        with Image.open(paths[index]) as picture:
                            pixels = np.asarray(picture.convert("L"))
                        writer.write(example(index, pixels, int(paths[index].parent.name)))

    return watch(work)


def compare(rows: list[Row]) -> list[str]:
    """Return the ratios that the documentation names."""
    cpu = {way: median(row["cpu_seconds"] for row in rows if row["way"] == way) for way in WAYS}
    seconds = {way: median(row["seconds"] for row in rows if row["way"] == way) for way in WAYS}
    return [
        f"preprocess takes {cpu[OURS] / cpu[LOOP]:.2f} of the processor's time of the loop",
        f"decoding has {cpu[PILLOW] / cpu[DECODER]:.2f} of the speed of Pillow alone",
        f"two workers are {seconds[OURS] / seconds[WORKERS]:.2f} times as fast as one process, by the clock",
    ]


def _read_files(place: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((place / "source").glob("*/*/*.png"))]


OURS = "preprocess"
WORKERS = "preprocess, 2 workers"
LOOP = "a loop with Pillow"
PILLOW = "Pillow, decoding alone"
DECODER = "decoding of backbeam"
WAYS = {
    OURS: partial(preprocess_source, workspace="one", beam_arguments=[]),
    WORKERS: partial(preprocess_source, workspace="two", beam_arguments=TWO_WORKERS),
    LOOP: write_by_a_loop,
    PILLOW: decode_by_pillow,
    DECODER: decode_by_backbeam,
}

if __name__ == "__main__":
    typer.run(main)
