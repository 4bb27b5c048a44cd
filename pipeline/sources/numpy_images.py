"""The images of a NumPy file that is to be predicted, read as those of a data set are."""

from collections.abc import Iterator

from model.errors import BadInput, BadUsage
from pipeline.sources.array_images import find_image_array
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.image_decoding import Grey
from pipeline.sources.named_columns import NamedColumns
from pipeline.sources.npy_format import ArrayFile, ArrayHeader, is_archive, list_arrays, open_array, read_array_items
from pipeline.storage.places import Place

# The names of images to predict: those of a test split of Keras and of MedMNIST, else of a source of one split.
_USUAL = (("x_test", "test_images"), ("x", "images"))


def read_images(place: Place, size: tuple[int, int], named: NamedColumns, transposed: bool) -> Iterator[Grey]:
    """Yield the images of a .npy file, or of an array of a .npz file: the named one, the only one, else that of test.

    An array may be one image. Raises BadInput if the file is damaged or holds images of another size, BadUsage if there
    is no array of that name.
    """
    array = _choose_array(place, named)
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


def _choose_array(place: Place, named: NamedColumns) -> ArrayFile:
    if not is_archive(place):
        return ArrayFile(place, None)
    names = list_arrays(place)
    listed = ", ".join(names[:20]) or "none"
    if named.image is not None:
        if named.image not in names:
            raise BadUsage(f"--image-column {named.image}: {place} has no such array; there are: {listed}")
        return ArrayFile(place, named.image)
    found = [names] if len(names) == 1 else _find_usual(names, named)
    chosen = next((each for each in found if each), [])
    if len(chosen) != 1:
        raise BadInput(
            f"{place}: its arrays are {listed}; expected one array, or {' or '.join(_USUAL[0])}: name that of the "
            "images with --image-column"
        )
    return ArrayFile(place, chosen[0])


def _find_usual(names: list[str], named: NamedColumns) -> Iterator[list[str]]:
    """Yield the arrays that may be those of the images: of the names that the data set was read by, else usual ones."""
    arrays = (named.dataset.arrays if named.dataset else None) or ()
    images = arrays[::2]  # of train, or of train, test and perhaps validation
    yield [name for name in names if name in images[:2][-1:]]
    for usual in _USUAL:
        yield [name for name in names if name.lower() in usual]
