"""The data sets known by name, and the kinds of sources."""

import os
import re
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Protocol, Self, TypeAlias

from model.errors import BadUsage
from pipeline.storage.places import Place, is_remote, place_of

DEFAULT_DATASET = "mnist-5k"
SPLITS = ("train", "test", "validation")  # an example's stored order depends on its split's position here
REQUIRED_SPLITS = ("train", "test")  # of every data set
UNDIVIDED_SPLITS = ("train", "validation")  # of a source from which a test split is held out
SPLIT_WORDS = {  # in names, to split
    **{"train": "train", "training": "train"},
    **{"test": "test", "testing": "test"},
    **{"val": "validation", "valid": "validation", "validation": "validation"},
}
MAX_CLASSES = 256
MAX_INTEGER = 2**63 - 1  # of seeds and counts: what a file of TOML holds
MAX_SHARDS = 99_999  # of a split: shard names have five digits
# How names of files end, in lower case, that --dataset may name, with commas between them, instead of a folder.
PARQUET_NAME = re.compile(r"\.parquet$")
CSV_NAME = re.compile(r"\.[ct]sv(\.gz)?$")
# TensorFlow Datasets numbers shards after the ending, where a pattern of them has wildcards.
TFRECORD_NAME = re.compile(r"\.tfrecords?(-[0-9*?]+(-of-[0-9*?]+)?|\*)?(\.gz)?$")
NUMPY_NAME = re.compile(r"\.np[yz]$")  # of files of which a pattern is no split
_FILE_NAMES = (PARQUET_NAME, CSV_NAME, TFRECORD_NAME, NUMPY_NAME)
EMBEDDED = Path(__file__).parent / "data"  # data sets that are part of the package

# The four IDX files of the MNIST family. Every tuple of files or digests below has this order.
FILE_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
# With those of a validation split, which other data sets may have. The identity of a split of arrays has these names.
ALL_FILE_NAMES = (*FILE_NAMES, "validation-images-idx3-ubyte", "validation-labels-idx1-ubyte")
FILE_NAMES_OF = {split: ALL_FILE_NAMES[2 * number : 2 * number + 2] for number, split in enumerate(SPLITS)}
_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


class KnownDataset(NamedTuple):
    """A data set that --dataset accepts by name, and its class names in the order of the labels."""

    class_names: tuple[str, ...]
    content_digests: tuple[str, ...] = ()  # SHA-256 of the four decompressed files; empty if unpublished
    gzip_digests: tuple[str, ...] = ()  # SHA-256 of the four files as the mirrors serve them
    mirrors: tuple[str, ...] = ()  # folders that serve FILE_NAMES with .gz; empty for the embedded data set


KNOWN = {
    "mnist-5k": KnownDataset(
        class_names=_DIGITS,
        content_digests=(
            "89e430e36727325a97efcd17149e4d09aca692cd5531d337d61364b43331602a",
            "0957144ebbfaa82456149ffb9d207d684c8fd34e52334f7f6b253b0de462eeb4",
            "b0de54896b0b7e1c4d57cb88864acbd15b191a178914269a8dab56e1aa76d30f",
            "7b084714aae0c46c963e54f94112743c4533d74e72810414669cb77720990d5c",
        ),
    ),
    "mnist": KnownDataset(
        class_names=_DIGITS,
        content_digests=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        gzip_digests=(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
        mirrors=(
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ),
    ),
    "fashion-mnist": KnownDataset(
        class_names=_CLOTHES,
        content_digests=(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        gzip_digests=(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        ),
    ),
    "kmnist": KnownDataset(
        class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        gzip_digests=(
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
        mirrors=("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
    ),
}


def split_file_names(dataset: str) -> list[str]:
    """Return the files that --dataset names with commas between them; empty if it does not end as a file's name.

    A file of this machine may have commas in its path.
    """
    if not any(name.search(dataset.lower()) for name in _FILE_NAMES):
        return []
    # Path.is_file raises an error for a long list of names.
    is_one = "," in dataset and not is_remote(dataset) and os.path.isfile(str(place_of(dataset)))  # noqa: PTH113
    return [dataset] if is_one else dataset.split(",")


ResizeMode: TypeAlias = Literal["fit", "pad", "crop"]  # see `picture_resizing`


class PictureOptions(NamedTuple):
    """The user's options for how images are found and read; None: detect from the source."""

    image_column: str | None = None  # of Parquet files, as is the next
    label_column: str | None = None
    image_size: tuple[int, int] | None = None  # height and width, else of the first train image that can be decoded
    arrays: tuple[str, ...] | None = None  # of a .npz file: images and labels of train, then of test (and validation)
    test_share: float | None = None  # of a source with one split, the share that becomes the test split
    transpose: bool | None = None  # whether the images of arrays are transposed
    resize: tuple[int, int] | None = None  # height and width that pictures of other sizes are scaled to
    resize_mode: ResizeMode | None = None  # how; by default pad
    split_by: str | None = None  # of tables and records: the column that says the split of each row

    @property
    def size(self) -> tuple[int, int] | None:
        """The size of every image, if the user gives it."""
        return self.resize or self.image_size

    @property
    def resizing(self) -> ResizeMode | None:
        """How pictures are scaled; None if they are not."""
        return (self.resize_mode or "pad") if self.resize else None


class InapplicableOption(BadUsage):
    """An option that does not fit what a source holds; of several sources, this one is read without it."""

    fields: ClassVar[tuple[str, ...]]  # of PictureOptions, or first_label
    reason: ClassVar[str]  # in a message


class IdxSource(NamedTuple):
    """A data set of IDX files, gzipped or not: four in the order of FILE_NAMES, or six in that of ALL_FILE_NAMES.

    Without those of test if a test split is held out.
    """

    name: str
    files: tuple[Place, ...]
    known: KnownDataset | None  # the entry of KNOWN if the data set was requested by name
    options: PictureOptions = PictureOptions()


class ParquetSource(NamedTuple):
    """A data set of Parquet files: those of each split, in order."""

    name: str
    files: dict[str, tuple[Place, ...]]
    options: PictureOptions


class ImageFolderSource(NamedTuple):
    """A data set in a directory tree of images, SPLIT/CLASS/IMAGE: the folder that holds train/ and test/."""

    name: str
    folder: Path
    options: PictureOptions


class AnySource(Protocol):
    """A data set whose files have been found; each layout has a NamedTuple of its own."""

    @property
    def name(self) -> str:
        """Name of the data set, of which its id is made."""
        ...

    def _replace(self, *, name: str = ...) -> Self: ...
