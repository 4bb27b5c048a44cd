"""Features of an Example that hold an image and a label: which they are, and what they say."""

import json
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from model.errors import BadInput, BadUsage
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.labels import Label, read_label
from pipeline.sources.picture_headers import is_picture
from pipeline.sources.pixel_rows import choose_image_size, round_pixels
from pipeline.sources.tfrecord_format import Values
from pipeline.storage.files import MAX_RECORD_BYTES, file_size
from pipeline.storage.places import Place

_IMAGE_NAMES = ("image/encoded", "image", "image_raw", "image/raw", "img", "picture", "pixels", "x")
_LABEL_NAMES = ("image/class/label", "label", "image/label", "class", "target", "labels", "y")
_HEIGHT_NAMES = ("image/height", "height", "rows")
_WIDTH_NAMES = ("image/width", "width", "cols")
_SHOWN = 10


class ExampleFeatures(NamedTuple):
    """The names of the features to read; is_encoded: images are files of pictures, else rows of pixels."""

    image: str
    label: str | None  # None: there are no labels, as in files to predict
    is_encoded: bool


class ShardsManifest(NamedTuple):
    """What the manifest of a data set of backbeam says of its images; None if there is no manifest."""

    image_size: tuple[int, int] | None = None
    class_names: tuple[str, ...] | None = None


class StoredExample(NamedTuple):
    """An image, as bytes or as numbers, and a label, as they are stored; None if missing.

    size is the height and width that the record says the image has, if it says both.
    """

    image: bytes | list[int] | list[float] | None
    label: Label
    size: tuple[int, int] | None = None

    @property
    def digest_bytes(self) -> bytes:
        """Label, kind and length of the image, then the image: different examples never have the same bytes."""
        label = json.dumps(self.label)
        if isinstance(self.image, bytes):
            return f"{label} {len(self.image)}\n".encode() + self.image
        return json.dumps([self.label, self.image]).encode() + b"\n"


def detect_features(
    values: dict[str, Values], options: PictureOptions, name: str, labelled: bool = True
) -> ExampleFeatures:
    """Find the features of images, and of labels if it is labelled, in the first record.

    They are the requested ones, else those of customary names.

    Raises BadUsage if a requested one does not exist, BadInput if there is none.
    """
    if options.split_by is not None:
        _choose(values, options.split_by, (), "--split-by", name)
    image = _choose(values, options.image_column, _IMAGE_NAMES, "--image-column", name)
    label = _choose(values, options.label_column, _LABEL_NAMES, "--label-column", name) if labelled else None
    first = read_stored(values, ExampleFeatures(image, label, is_encoded=False)).image
    return ExampleFeatures(image, label, isinstance(first, bytes) and is_picture(first))


def _choose(values: dict[str, Values], requested: str | None, usual: tuple[str, ...], option: str, name: str) -> str:
    names = sorted(values)
    listed = ", ".join(names[:_SHOWN]) + (" ..." if len(names) > _SHOWN else "")
    if requested is not None:
        if requested not in values:
            raise BadUsage(f"{option} {requested}: {name} has no such feature; its features: {listed}")
        return requested
    found = next((feature for feature in usual if values.get(feature)), None)
    if found is None:
        raise BadInput(f"{name}: no feature {', '.join(usual)}: name one with {option}; its features: {listed}")
    return found


def read_stored(values: dict[str, Values], features: ExampleFeatures) -> StoredExample:
    """Return the image and the label of a record's values; several pictures or labels count as none."""
    labels = values.get(features.label, []) if features.label is not None else []
    label = labels[0] if len(labels) == 1 else None
    height = _first_value(values, _HEIGHT_NAMES)
    width = _first_value(values, _WIDTH_NAMES)
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    return StoredExample(_read_image(values.get(features.image, [])), read_label(label), size)


def read_split_word(values: dict[str, Values], feature: str) -> str | None:
    """Return the word in a feature that says the split of a record; None if it holds anything but one text."""
    words = values.get(feature, [])
    return words[0].decode(errors="replace") if len(words) == 1 and isinstance(words[0], bytes) else None


def _read_image(images: Values) -> bytes | list[int] | list[float] | None:
    """Return the one string of bytes, or the numbers of pixels; None if there is neither."""
    if not images or (isinstance(images[0], bytes) and len(images) > 1):
        return None
    first = images[0]
    return first if isinstance(first, bytes) else cast(list[int] | list[float], images)


def find_image_size(
    values: dict[str, Values], features: ExampleFeatures, size: tuple[int, int] | None, name: str
) -> tuple[int, int]:
    """Return the size of images of pixels: what the record says, else the stated one, else that of a square.

    Raises BadUsage or BadInput if the image has another number of pixels, or seems to hold wider numbers than uint8;
    BadInput if the record says another size than the stated one.
    """
    image, _, own_size = read_stored(values, features)
    if image is None:
        raise BadInput(f"{name}: the feature {features.image!r} holds no image")
    if own_size is not None:
        height, width = own_size
        if size is not None and size != own_size:
            raise BadInput(
                f"{name}: the record says {height} x {width} pixels, expected {size[0]} x {size[1]}, as "
                "--image-size or manifest.json beside the file says: leave out the one that is wrong"
            )
        if height * width != len(image) or min(own_size) <= 0:
            raise BadInput(
                f"{name}: the feature {features.image!r} has {len(image)} values, and the record says {height} x "
                f"{width} pixels: colours, and numbers of more than a byte, are not read"
            )
        return own_size
    if size is None and isinstance(image, bytes):
        wider = _find_wider_type(image)
        if wider:
            raise BadInput(
                f"{name}: the feature {features.image!r} seems to hold {wider} numbers, expected bytes, one a pixel, "
                "or a file of a picture; if it holds bytes, give --image-size"
            )
    return choose_image_size(len(image), size, name)


def _first_value(values: dict[str, Values], names: tuple[str, ...]) -> bytes | int | float | None:
    return next((values[name][0] for name in names if values.get(name)), None)


def _find_wider_type(data: bytes) -> str:
    """Return the type of which all of some bytes would be sound pixel values: four times a square is a square, too."""
    for name, smallest in (("float32", 1e-6), ("int32", 1)):  # bytes of dark pixels are smaller floats
        if len(data) % 4 == 0:
            values = np.frombuffer(data, np.dtype(name).newbyteorder("<")).astype(np.float64)
            nonzero = np.abs(values[values != 0])
            if nonzero.size and np.isfinite(values).all() and nonzero.min() >= smallest and nonzero.max() <= 255:
                return name
    return ""


def read_pixels(example: StoredExample, size: tuple[int, int]) -> tuple[npt.NDArray[np.uint8], str]:
    """Return uint8[pixels] of an example's image of a size, and why it is unusable; empty if it is not."""
    num_pixels = size[0] * size[1]
    empty = np.zeros(num_pixels, np.uint8)
    image = example.image
    if image is None:
        return empty, "there is no image"
    if len(image) != num_pixels:
        return empty, f"an image of {len(image)} pixels, expected {num_pixels}"
    if example.size is not None and example.size != size:
        height, width = example.size
        return empty, f"the record says {height} x {width} pixels, expected {size[0]} x {size[1]}"
    if isinstance(image, bytes):
        return np.frombuffer(image, np.uint8), ""
    names = [str(number) for number in range(num_pixels)]
    pixels, faults = round_pixels(np.array([image], np.float64), names)
    return pixels[0], faults.get(0, "")


def read_manifest(folder: Place) -> ShardsManifest:
    """Read the manifest beside shards that backbeam wrote; other files of that name say nothing."""
    place = folder / "manifest.json"
    if not place.is_file() or file_size(place) > MAX_RECORD_BYTES:
        return ShardsManifest()
    try:
        content = json.loads(place.read_bytes())
        size = (content["height"], content["width"])
        names = tuple(content["class_names"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ShardsManifest()
    is_sound = all(type(side) is int and side > 0 for side in size) and all(isinstance(name, str) for name in names)
    return ShardsManifest(size, names) if is_sound and names else ShardsManifest()
