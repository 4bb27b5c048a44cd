"""The images of a TFRecord file that is to be predicted, with labels or without, read as those of a data set are."""

from collections.abc import Iterator

from model.errors import BadInput
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.compressed import open_decompressed
from pipeline.sources.image_blocks import EncodedImage, StoredImage
from pipeline.sources.named_columns import NamedColumns
from pipeline.sources.tfrecord_features import detect_features, read_pixels, read_stored
from pipeline.sources.tfrecord_format import parse_example, read_records
from pipeline.storage.places import Place


def read_images(place: Place, size: tuple[int, int], named: NamedColumns) -> Iterator[StoredImage]:
    """Yield the images of a file; those of pixels have a size, height and width.

    Raises BadInput if the file is damaged or a record holds no image, BadUsage if it lacks a feature that the
    user names.
    """
    features = None
    with open_decompressed(place) as stream:
        for number, record in enumerate(read_records(stream, str(place))):
            name = f"{place}: record {number}"
            values = parse_example(record.payload, name)
            features = features or detect_features(
                values, PictureOptions(named.find(values).image_column), name, labelled=False
            )
            example = read_stored(values, features)
            if features.is_encoded:
                data = example.image if isinstance(example.image, bytes) else None
                yield EncodedImage(number, place.name, name, data, None)
                continue
            pixels, fault = read_pixels(example, size)
            if fault:
                raise BadInput(f"{name}: {fault}")
            yield pixels.reshape(size)
