"""Build MNIST with TensorFlow Datasets. A program for the environment of `requirements.txt`, which has no backbeam.

    python build.py KIND FOLDER_OF_THE_FOUR_FILES DATA_FOLDER RESULT

KIND is `plain`, TensorFlow Datasets' own builder of MNIST, or `beam`, the same builder with its examples made by a Beam
pipeline. The result holds the seconds that building took.
"""

import sys
import time
from pathlib import Path

import apache_beam as beam
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import checksums
from tensorflow_datasets.image_classification import mnist


class MnistByBeam(mnist.MNIST):
    """MNIST from the same files, its examples as elements of a Beam pipeline."""

    url_infos = mnist.MNIST.url_infos

    def _generate_examples(self, num_examples, data_path, label_path):
        images = mnist._extract_mnist_images(data_path, num_examples)
        labels = mnist._extract_mnist_labels(label_path, num_examples)
        examples = ({"image": image, "label": label} for image, label in zip(images, labels, strict=True))
        return beam.Create(list(enumerate(examples)))


def build(kind: str, source: str, data_folder: str) -> float:
    accept(Path(source))
    builder = {"plain": mnist.MNIST, "beam": MnistByBeam}[kind](data_dir=data_folder)
    config = tfds.download.DownloadConfig(manual_dir=source, beam_runner="FnApiRunner", beam_options=None)
    started = time.perf_counter()
    builder.download_and_prepare(download_config=config)
    return time.perf_counter() - started


def accept(source: Path) -> None:
    """Have the digests of the four files expected: the known ones are of one compression only, whatever it holds."""
    infos = mnist.MNIST.url_infos
    for url, known in list(infos.items()):
        infos[url] = checksums.compute_url_info(source / known.filename)


if __name__ == "__main__":
    Path(sys.argv[4]).write_text(str(build(*sys.argv[1:4])))
