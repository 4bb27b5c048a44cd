"""Classify the images of files by a trained model."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from model.errors import BadInput, BadUsage, CorruptArtefact
from model.examples import Integers
from pipeline.evaluate.image_files import MAX_IMAGES, NO_COLUMNS, ModelImages, read_items
from pipeline.preprocess.manifest import Manifest
from pipeline.preprocess.provenance import load_origin
from pipeline.sources.blocks import refuse_unreadable
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.image_decoding import TRANSPOSED, Grey
from pipeline.sources.named_columns import NamedColumns
from pipeline.sources.picture_conversion import PreparedPicture
from pipeline.storage.places import Place
from pipeline.train.run_lookup import TrainedModel, load_network

Outputs: TypeAlias = npt.NDArray[np.float32]

BATCH_IMAGES = 1000
BATCH_BYTES = 2**26


@dataclass(frozen=True)
class ImagePrediction:
    """The prediction for an image."""

    file: str
    index: int | None  # in the file; None if the file is a picture
    class_name: str  # of the largest output
    confidence: float
    runner_up: str | None  # class of the second largest output; None if there is only one class
    runner_up_confidence: float | None
    remarks: tuple[str, ...] = ()  # what of a picture was changed, or may be wrong


class ClassifiedImages(NamedTuple):
    """The predictions for an array of n images."""

    labels: Integers  # int64[n], the classes of the largest outputs
    probabilities: Outputs  # float32[n, classes], the outputs; those of a softmax have the sum 1


@refuse_unreadable()
def predict_images(
    files: Iterable[str], model: ModelImages, classify: Callable[[Grey], Outputs], named: NamedColumns = NO_COLUMNS
) -> list[ImagePrediction]:
    """Classify every image of every file, by a function from uint8[n, height * width] to float32[n, classes].

    Raises BadInput and BadUsage as `read_items`; BadInput if there are more than MAX_IMAGES, and BadUsage if an output
    of the model is not finite.
    """
    items = ((file, index, item) for file in files for index, item in read_items(file, model, named))
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


def predict_files(
    workspace: Place, model: TrainedModel, files: list[str], image_column: str | None, label_column: str | None
) -> list[ImagePrediction]:
    """Classify every image of every file by a run's model; raises as `predict_images`, and CorruptArtefact.

    Columns that are not given are those that the data set was read by, in files that have them.
    """
    manifest = model.manifest
    options = find_options(workspace, manifest)
    transposed = find_transposed(manifest, options)
    images = ModelImages(manifest.height, manifest.width, manifest.class_names, manifest.style, transposed)
    return predict_images(files, images, load_network(model).predict, NamedColumns(image_column, label_column, options))


def find_options(workspace: Place, manifest: Manifest) -> PictureOptions | None:
    """Return the options that a data set was read by; None if its origin is missing or damaged, as it may be here."""
    try:
        origin = load_origin(workspace, manifest.dataset_id)
    except CorruptArtefact:
        return None
    return PictureOptions(
        origin.image_column, origin.label_column, transpose=origin.transpose, split_by=origin.split_by
    )


def find_transposed(manifest: Manifest, options: PictureOptions | None) -> bool | None:
    """Return whether the arrays of a data set were transposed; None if some were, by their names."""
    count = manifest.style.conversions.get(TRANSPOSED, 0)
    total = sum(split.num_examples for split in manifest.splits.values())
    if not 0 < count < total:
        return count > 0
    return options.transpose if options else None  # of a joint data set with other images than arrays


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
    outputs = load_network(model).predict(found.reshape(len(found), height * width))
    _check_finite(outputs)
    return ClassifiedImages(outputs.argmax(axis=1).astype(np.int64), outputs)
