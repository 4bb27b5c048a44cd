"""Classify the images of files, pictures, IDX, NumPy or CSV, by a trained model."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from model.errors import BadInput, BadUsage
from model.examples import Integers
from pipeline.context import quiet_imports
from pipeline.preprocess.manifest import Manifest
from pipeline.progress import warn
from pipeline.sources import csv_files
from pipeline.sources.array_images import find_image_array
from pipeline.sources.blocks import refuse_unreadable
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.idx_files import is_emnist
from pipeline.sources.idx_format import IMAGES_MAGIC, may_be_idx, open_idx, read_body
from pipeline.sources.image_decoding import TRANSPOSED, Grey
from pipeline.sources.npy_format import ArrayFile, may_be_array, open_array, read_array_items
from pipeline.sources.picture_conversion import PreparedPicture, read_picture
from pipeline.sources.picture_headers import START_BYTES, TITLES, describe_format, is_picture
from pipeline.sources.picture_style import MNIST_STYLE, PictureStyle
from pipeline.storage.files import file_size, read_range
from pipeline.storage.places import Place, place_of
from pipeline.train.run_lookup import TrainedModel, load_parameters

Outputs: TypeAlias = npt.NDArray[np.float32]

MAX_PICTURE_BYTES = 2**28
MAX_IMAGES = 200_000  # of a command: predictions are kept in memory until every file is known to be sound
BATCH_IMAGES = 1000
BATCH_BYTES = 2**26


@dataclass(frozen=True)
class ImagePrediction:
    """The prediction for an image."""

    file: str
    index: int | None  # in an IDX or CSV file; None if the file is a picture
    class_name: str  # of the largest output
    confidence: float
    runner_up: str | None  # class of the second largest output; None if there is only one class
    runner_up_confidence: float | None
    remarks: tuple[str, ...] = ()  # what of a picture was changed, or may be wrong


@dataclass(frozen=True)
class ModelImages:
    """The images and classes of a model: the size and style of the images of its data set."""

    height: int
    width: int
    class_names: tuple[str, ...]
    style: PictureStyle = MNIST_STYLE
    transposed: bool | None = False  # the images of IDX and CSV files; None: as the name of each says


class ClassifiedImages(NamedTuple):
    """The predictions for an array of n images."""

    labels: Integers  # int64[n], the classes of the largest outputs
    probabilities: Outputs  # float32[n, classes], the outputs; those of a softmax have the sum 1


@refuse_unreadable()
def predict_images(
    files: Iterable[str], model: ModelImages, classify: Callable[[Grey], Outputs]
) -> list[ImagePrediction]:
    """Classify every image of every file, by a function from uint8[n, height * width] to float32[n, classes].

    Raises BadInput if a file is missing, corrupt, of another type, or holds images of another size, or there are more
    than MAX_IMAGES; and BadUsage if an output of the model is not finite.
    """
    items = ((file, index, item) for file in files for index, item in read_items(file, model))
    predictions: list[ImagePrediction] = []
    batch_images = max(1, min(BATCH_IMAGES, BATCH_BYTES // (model.height * model.width)))
    while batch := list(islice(items, batch_images)):
        if len(predictions) + len(batch) > MAX_IMAGES:
            raise BadInput(f"{batch[-1][0]}: more than {MAX_IMAGES} images in one command: name fewer files")
        outputs = classify(np.stack([item.image.reshape(-1) for _, _, item in batch]))
        _check_finite(outputs)
        predictions += [
            _to_prediction(file, index, item, row, model.class_names)
            for (file, index, item), row in zip(batch, outputs, strict=True)
        ]
    return predictions


def read_items(file: str, model: ModelImages) -> Iterator[tuple[int | None, PreparedPicture]]:
    """Yield the images of a file, whose content decides its type, and their positions in it.

    The position is None if the file is a picture. Raises BadInput as `predict_images`.
    """
    place = place_of(file)
    if not place.is_file():
        raise BadInput(f"{file}: {'neither a file nor a link to one' if _is_there(place) else 'no such file'}")
    start = read_range(place, 0, START_BYTES)
    if is_picture(start):
        yield None, _read_picture(place, model)
    elif csv_files.is_csv_file(place):  # first, because it may be gzipped, as an IDX file may be
        yield from enumerate(_read_csv(place, model))
    elif may_be_idx(start):
        yield from enumerate(_read_idx(place, model))
    elif may_be_array(start):
        yield from enumerate(_read_array(place, model))
    else:
        raise BadInput(
            f"{file}: {describe_format(start)}neither a picture ({TITLES}) nor an IDX images file, a .npy array or a "
            "CSV file"
        )


def _is_there(place: Place) -> bool:
    return isinstance(place, Path) and os.path.lexists(place)


def _read_picture(file: Place, model: ModelImages) -> PreparedPicture:
    num_bytes = file_size(file)
    if num_bytes > MAX_PICTURE_BYTES:
        raise BadInput(f"{file}: {num_bytes} bytes, expected at most {MAX_PICTURE_BYTES} for a picture")
    data = read_range(file, 0, MAX_PICTURE_BYTES)
    return read_picture(data, model.height, model.width, str(file), model.style)


def _read_idx(file: Place, model: ModelImages) -> Iterator[PreparedPicture]:
    """Yield the images of an IDX file one by one, so that memory does not depend on the size in its header."""
    transposed = _is_transposed(file, model, is_emnist(file.name))
    height, width = (model.width, model.height) if transposed else (model.height, model.width)
    with open_idx(file, IMAGES_MAGIC) as (header, stream):
        if header.sizes[0] > MAX_IMAGES:
            raise BadInput(f"{file}: {header.sizes[0]} images, expected at most {MAX_IMAGES} in one command")
        if header.sizes[1:] != (height, width):
            found = " x ".join(map(str, header.sizes[1:]))
            raise BadInput(f"{file}: images of {found} pixels, expected {height} x {width} as the run's data set")
        for block in read_body(stream, header, header.example_bytes, str(file)):
            image = np.frombuffer(block, np.uint8).reshape(height, width)
            yield PreparedPicture(image.T if transposed else image, ())


def _read_array(file: Place, model: ModelImages) -> Iterator[PreparedPicture]:
    """Yield the images of a .npy file one by one; see `_read_idx`."""
    array = ArrayFile(file, None)
    with open_array(array) as (header, stream):
        images = find_image_array(header, PictureOptions(transpose=model.transposed), str(file))
        if header.shape[0] > MAX_IMAGES:
            raise BadInput(f"{file}: {header.shape[0]} images, expected at most {MAX_IMAGES} in one command")
        if images.size != (model.height, model.width):
            raise BadInput(f"{file}: {header}, expected images of {model.height} x {model.width} as the run's data set")
        for item in read_array_items(stream, header, 1, array):
            yield PreparedPicture(images.decode(item)[0], ())


def _is_transposed(file: Place, model: ModelImages, has_emnist_name: bool) -> bool:
    transposed = has_emnist_name if model.transposed is None else model.transposed
    if transposed:
        warn(f"predict: {file}: its images are transposed, as those of the run's data set were")
    return transposed


def _read_csv(file: Place, model: ModelImages) -> Iterator[PreparedPicture]:
    from pipeline.sources.csv_source import read_images  # which imports pyarrow

    transposed = _is_transposed(file, model, csv_files.is_emnist_csv(file))
    for image in read_images(file, model.height, model.width, transposed):
        yield PreparedPicture(image, ())


def _check_finite(outputs: Outputs) -> None:
    if not np.isfinite(outputs).all():
        raise BadUsage("the model's outputs are no numbers: its training diverged; name another run")


def _to_prediction(
    file: str, index: int | None, item: PreparedPicture, outputs: Outputs, class_names: tuple[str, ...]
) -> ImagePrediction:
    first, *others = np.argsort(-outputs, kind="stable")  # the first of equal outputs comes first, as with argmax
    return ImagePrediction(
        file,
        index,
        class_names[first],
        float(outputs[first]),
        class_names[others[0]] if others else None,
        float(outputs[others[0]]) if others else None,
        item.remarks,
    )


def predict_files(model: TrainedModel, files: list[str]) -> list[ImagePrediction]:
    """Classify every image of every file by a run's model; raises as `predict_images`, and CorruptArtefact."""
    manifest = model.manifest
    transposed = _are_transposed(manifest)
    images = ModelImages(manifest.height, manifest.width, manifest.class_names, manifest.style, transposed)
    return predict_images(files, images, load_classifier(model))


def _are_transposed(manifest: Manifest) -> bool | None:
    """Return whether the images of a data set were transposed; None if only some parts of a joint data set were."""
    count = manifest.style.conversions.get(TRANSPOSED, 0)
    total = sum(split.num_examples for split in manifest.splits.values())
    return None if 0 < count < total else count > 0


def predict_array(model: TrainedModel, images: Grey) -> ClassifiedImages:
    """Classify uint8[n, height, width] images by a run's model.

    Raises BadInput if the images are of another type or size, BadUsage if an output is not finite, and CorruptArtefact.
    """
    height = model.manifest.height
    width = model.manifest.width
    found = np.asarray(images)
    if found.dtype != np.uint8 or found.ndim != 3 or found.shape[1:] != (height, width):
        raise BadInput(
            f"images are {found.dtype}{list(found.shape)}, expected uint8[n, {height}, {width}]: pixel values 0 to "
            "255, of the size of the run's data set"
        )
    outputs = load_classifier(model)(found.reshape(len(found), height * width))
    _check_finite(outputs)
    return ClassifiedImages(outputs.argmax(axis=1).astype(np.int64), outputs)


def load_classifier(model: TrainedModel) -> Callable[[Grey], Outputs]:
    """Return the function from uint8[n, height * width] to float32[n, classes] of a run; raises CorruptArtefact."""
    with quiet_imports():
        from model.devices import initialise_devices
        from model.network import predict_in_pieces
        from model.training import network_of

        initialise_devices()
    return partial(predict_in_pieces, network_of(model.run.config), load_parameters(model))
