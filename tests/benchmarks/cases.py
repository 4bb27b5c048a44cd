"""What is timed: networks, the batches that every peer trains on, and the arithmetic that a step takes."""

import gzip
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model.recipes import TrainingConfig, find_recipe, override
from pipeline.sources.catalog import EMBEDDED, FILE_NAMES
from pipeline.sources.idx_format import IMAGES_MAGIC, LABELS_MAGIC

NUM_CHUNKS = 4  # of different batches; what lasts longer takes them again and again
CHECKED_STEPS = 5  # few, so that in case C rounding moves no value across the bend of a relu (README.md)
SIDE = 28  # pixels of a digit, in each direction
PIECE = 10_000  # images written at once
_NUM_STEPS = 10_000  # of the run that the chunks are cut from: the article's
REPORT_EVERY = 1000  # steps; a chunk ends at each report

# Rates that do not change, and one for weights and biases alike: what every peer offers.
_ARTICLE = override(find_recipe("article-autodiff").config, step="manual", num_steps=_NUM_STEPS)
_MODERN = override(find_recipe("modern").config, dropout=0.0, schedule="constant", num_steps=_NUM_STEPS)
CASES = {
    "A": _ARTICLE,
    "B": override(_ARTICLE, batch_size=128),
    "C": _MODERN,
    "D": override(_MODERN, layers=(784, 128, 10)),
}


class Work(NamedTuple):
    """What a peer is given."""

    config: TrainingConfig  # the network, its loss and its rates; peers other than ours ignore the step
    # (weights float32[inputs, outputs], biases float32[outputs]) of each layer
    start: tuple[tuple[np.ndarray, np.ndarray], ...]
    images: np.ndarray  # uint8[chunks, steps, n, inputs], pixel values 0 to 255
    labels: np.ndarray  # int32[chunks, steps, n], classes

    @property
    def chunk_length(self) -> int:
        return self.images.shape[1]

    def first_steps(self, num_steps: int) -> "Work":
        """The same work, but only one chunk of num_steps."""
        return self._replace(images=self.images[:1, :num_steps], labels=self.labels[:1, :num_steps])

    def scaled_images(self) -> np.ndarray:
        """float32[chunks, steps, n, inputs], 0 to 1."""
        return self.images.astype(np.float32) / np.float32(255)

    def targets(self) -> np.ndarray:
        """float32[chunks, steps, n, outputs], one-hot."""
        return np.eye(self.config.layers[-1], dtype=np.float32)[self.labels]


def make_work(config: TrainingConfig, images: np.ndarray, labels: np.ndarray) -> Work:
    """Cut examples into chunks of the length that training has, taking them again where there are too few."""
    from model.batches import BatchPlan, chunk_lengths  # TensorFlow, which the processes of other peers must not import
    from model.network import initialise

    plan = BatchPlan(config.seed, config.batch_size, config.num_steps, REPORT_EVERY)
    shape = (NUM_CHUNKS, next(chunk_lengths(plan, images.shape[1])), config.batch_size)
    chosen = np.arange(np.prod(shape)).reshape(shape) % len(labels)
    drawn = initialise(config.layers, config.seed, config.start)
    start = tuple((layer.weights.numpy().T, layer.biases.numpy()) for layer in drawn)
    return Work(config, start, images[chosen], labels[chosen].astype(np.int32))


def read_digits() -> tuple[str, np.ndarray, np.ndarray]:
    """Read train digits: all of MNIST if BACKBEAM_TEST_DATA names it, else the 4,000 that are part of the package.

    Returns:
        which, images uint8[examples, pixels], labels uint8[examples].
    """
    named = os.environ.get("BACKBEAM_TEST_DATA")
    folder = Path(named) / "mnist" if named else EMBEDDED / "mnist-5k"
    images, labels = (gzip.decompress((folder / f"{name}.gz").read_bytes()) for name in FILE_NAMES[:2])
    return folder.name, np.frombuffer(images[16:], np.uint8).reshape(-1, 784), np.frombuffer(labels[8:], np.uint8)


def write_source(folder: Path, num_train: int, num_test: int, side: int = SIDE) -> None:
    """Write digits, again and again, as four IDX files; of each no more than side x side pixels in the middle."""
    folder.mkdir(parents=True)
    _, digits, labels = read_digits()
    middle = slice((SIDE - side) // 2, (SIDE - side) // 2 + side)
    images = np.ascontiguousarray(digits.reshape(-1, SIDE, SIDE)[:, middle, middle])
    for (images_name, labels_name), size in zip((FILE_NAMES[:2], FILE_NAMES[2:]), (num_train, num_test), strict=True):
        with (folder / images_name).open("wb") as image_file, (folder / labels_name).open("wb") as label_file:
            image_file.write(np.array([IMAGES_MAGIC, size, side, side], ">u4").tobytes())
            label_file.write(np.array([LABELS_MAGIC, size], ">u4").tobytes())
            for start in range(0, size, PIECE):
                chosen = np.arange(start, min(size, start + PIECE)) % len(labels)
                image_file.write(images[chosen].tobytes())
                label_file.write(labels[chosen].tobytes())
