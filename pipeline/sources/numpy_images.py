"""The images of a NumPy file that is to be predicted, read as those of a data set are."""

from collections.abc import Iterator

from model.errors import BadInput, BadUsage
from pipeline.sources.array_images import find_image_array
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.image_decoding import Grey
from pipeline.sources.npy_format import ArrayFile, ArrayHeader, is_archive, list_arrays, open_array, read_array_items
from pipeline.storage.places import Place

_TEST_IMAGES = ("x_test", "test_images")  # the names of Keras and of MedMNIST


def read_images(place: Place, size: tuple[int, int], name: str | None, transposed: bool) -> Iterator[Grey]:
    """Yield the images of a .npy file, or of an array of a .npz file: of that name, else the only one or that of test.

    An array may be one image. Raises BadInput if the file is damaged or holds images of another size, BadUsage if there
    is no array of that name.
    """
    array = _choose_array(place, name)
    with open_array(array) as (stored, stream):
        header = _as_images(stored, size[::-1] if transposed else size)
        is_flat = header.shape[1:] == (size[0] * size[1],)
        options = PictureOptions(image_size=size if is_flat else None, transpose=transposed)
        # The size of other flat images is unknown, and not that of the data set.
        images = find_image_array(header, options, str(array)) if is_flat or len(header.shape) > 2 else None
        if images is None or images.size != size:
            raise BadInput(f"{array}: {stored}, expected images of {size[0]} x {size[1]} as the run's data set")
        for item in read_array_items(stream, header, 1, array):
            yield images.decode(item)[0]


def _as_images(header: ArrayHeader, size: tuple[int, int]) -> ArrayHeader:
    """Return the header of an array of images for that of one image of a size."""
    is_one = header.shape == size and size[0] > 1  # one row of pixels is a flat image already
    return header._replace(shape=(1, *size)) if is_one else header


def _choose_array(place: Place, name: str | None) -> ArrayFile:
    if not is_archive(place):
        return ArrayFile(place, None)
    names = list_arrays(place)
    listed = ", ".join(names[:20]) or "none"
    if name is not None:
        if name not in names:
            raise BadUsage(f"--image-column {name}: {place} has no such array; there are: {listed}")
        return ArrayFile(place, name)
    chosen = [each for each in names if each.lower() in _TEST_IMAGES] if len(names) > 1 else names
    if len(chosen) != 1:
        raise BadInput(
            f"{place}: its arrays are {listed}; expected one array, or {' or '.join(_TEST_IMAGES)}: name that of the "
            "images with --image-column"
        )
    return ArrayFile(place, chosen[0])
