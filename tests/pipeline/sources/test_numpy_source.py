"""NumPy files as a source: the arrays of Keras, MedMNIST and others, and what is refused."""

import io
import zipfile
from contextlib import ExitStack

import numpy as np
import pytest
from PIL import Image

from model.errors import BadInput, BadUsage
from pipeline.evaluate.image_files import ModelImages, read_items
from pipeline.preprocess.beam_job import preprocess
from pipeline.preprocess.manifest import PreprocessConfig, dataset_id
from pipeline.sources.blocks import ExampleFormat
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.named_columns import NamedColumns
from tests.helpers import Digits, run_in_process
from tests.pictures import scan_folder

KERAS = ("x_train", "y_train", "x_test", "y_test")
MEDMNIST = ("train_images", "train_labels", "test_images", "test_labels")


def arrays(names=KERAS, digits=None):
    digits = digits or Digits()
    return dict(zip(names, (*digits.split(0, digits.num_train), *digits.split(1, digits.num_test)), strict=True))


def save(path, content=None, how=np.savez):
    path.parent.mkdir(parents=True, exist_ok=True)
    how(path, **(content or arrays()))
    return path


def read(scans, split, scratch):
    target = ExampleFormat(*scans.image_size, len(scans.class_names), scans.channel, scans.first_label)
    scratch.mkdir(exist_ok=True)
    with ExitStack() as stack:
        ranges = scans.splits[split].open(stack, scratch)
        return [block for block_range in ranges for block in block_range.read(target)]


@pytest.mark.parametrize("how", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "change",
    [
        lambda content: content,
        lambda content: dict(zip(MEDMNIST, content.values(), strict=True)) | {"val_images": np.zeros(3)},
        lambda content: {name.upper(): values[..., None] for name, values in content.items()},
        lambda content: {name: values.astype(">i8") if name[0] == "y" else values for name, values in content.items()},
        lambda content: {name: values[:, None] for name, values in content.items()},
    ],
    ids=range(5),
)
def test_source_is_that_of_the_idx_files(change, how, tmp_path, digits_folder):
    path = save(tmp_path / "folder" / "digits.npz", change(arrays()), how)
    assert scan_folder(path).infos == scan_folder(path.parent).infos == scan_folder(digits_folder).infos


def test_data_set_is_that_of_the_idx_files(tmp_path, digits_folder):
    config = PreprocessConfig(seed=1, num_shards=2)
    folders = []
    for source in (digits_folder, save(tmp_path / "x.npz")):
        scans = scan_folder(source)
        folders.append(tmp_path / f"of-{source.name}" / dataset_id("digits", scans.class_names, config, scans.infos))
        preprocess(scans, "digits", config, folders[-1], 0, [])
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert first == second


def test_four_files_of_one_array_each_are_a_source(tmp_path, digits_folder):
    files = []
    for name, values in arrays().items():
        files.append(tmp_path / f"{name}.{'npz' if name[0] == 'x' else 'npy'}")
        (np.savez if name[0] == "x" else np.save)(files[-1], values)
    assert scan_folder(",".join(map(str, files))).infos == scan_folder(digits_folder).infos


@pytest.mark.parametrize("names", ["kmnist-{}-imgs.npz kmnist-{}-labels.npz", "x_{}.npy y_{}.npy", "{}_X.NPY {}_Y.NPY"])
def test_files_of_one_array_each_are_found_in_a_folder_by_their_names(names, tmp_path, digits_folder):
    places = [tmp_path / name for split in ("train", "test") for name in names.format(split, split).split()]
    for place, values in zip(places, arrays().values(), strict=True):
        with place.open("wb") as stream:
            (np.savez if place.suffix.lower() == ".npz" else np.save)(stream, values)
    (tmp_path / f"._{places[0].name}").write_bytes(b"left by macOS")
    assert scan_folder(tmp_path).infos == scan_folder(digits_folder).infos
    with pytest.raises(BadUsage, match=r"--arrays names the arrays of one \.npz file"):
        scan_folder(tmp_path, arrays=("a", "b", "c", "d"))
    with pytest.raises(BadUsage, match=rf"--test-share 0\.3: .* has a test split, {places[2].name}"):
        scan_folder(tmp_path, test_share=0.3)
    for place in places[2:]:
        place.unlink()
    with pytest.raises(BadInput, match=r"2 NumPy files .*: name one .* if each holds one array, four with commas"):
        scan_folder(tmp_path)
    files = ",".join(map(str, places[:2]))
    assert scan_folder(tmp_path, test_share=0.3).infos == scan_folder(files, test_share=0.3).infos


def test_arrays_of_a_folder_without_a_partner_are_named(tmp_path, capsys):
    for name, values in zip(("x_train", "y_train", "x_test", "y_test"), arrays().values(), strict=True):
        np.save(tmp_path / f"{name}.npy", values)
    np.save(tmp_path / "x_val.npy", np.zeros((3, 28, 28), np.uint8))
    assert list(scan_folder(tmp_path).splits) == ["train", "test"]
    assert (
        "not read, as their names do not say a split and images or labels of it: x_val.npy" in capsys.readouterr().err
    )


def test_archive_of_a_folder_may_have_a_name_in_capitals_and_a_hidden_twin(tmp_path, digits_folder):
    save(tmp_path / "x.npz").rename(tmp_path / "MNIST.NPZ")
    (tmp_path / "._MNIST.NPZ").write_bytes(b"left by macOS")
    assert scan_folder(tmp_path).infos == scan_folder(digits_folder).infos


def test_arrays_of_other_names_are_named(tmp_path):
    path = save(tmp_path / "x.npz", arrays(("a", "b", "c", "d")))
    with pytest.raises(BadInput, match=r"its arrays are a, b, c, d; expected x_train, .*or name them: --arrays"):
        scan_folder(path)
    assert scan_folder(path, arrays=("a", "b", "c", "d")).splits["test"].num_examples == 20
    with pytest.raises(BadUsage, match="has no array 'e'; there are: a, b, c, d"):
        scan_folder(path, arrays=("a", "b", "c", "e"))
    save(tmp_path / "y.npz")
    with pytest.raises(BadInput, match=r"2 NumPy files \(x\.npz, y\.npz\): name one"):
        scan_folder(tmp_path)


def test_colours_become_grey_as_in_pictures_and_truth_values_white(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (60, 5, 4, 3), np.uint8)
    masks = colours[:20, ..., 0] > 99
    scans = scan_folder(save(tmp_path / "x.npz", arrays() | {"x_train": colours, "x_test": masks}))
    [train] = read(scans, "train", tmp_path / "scratch")
    [test] = read(scans, "test", tmp_path / "scratch")
    expected = [np.asarray(Image.fromarray(image).convert("L")).reshape(-1) for image in colours]
    assert np.array_equal(train.examples.images, expected)
    assert np.array_equal(test.examples.images, masks.reshape(20, -1) * np.uint8(255))
    assert (set(train.conversions), len(test.conversions)) == ({"colours to grey"}, 20)


def test_flat_and_transposed_images(tmp_path, digits_folder):
    flat = {name: values.reshape(len(values), -1) if name[0] == "x" else values for name, values in arrays().items()}
    path = save(tmp_path / "x.npz", flat)
    with pytest.raises(BadInput, match="20 pixels are no square: give --image-size"):
        scan_folder(path)
    assert scan_folder(path, image_size=(5, 4)).infos == scan_folder(digits_folder).infos
    turned = {name: values.transpose(0, 2, 1) if name[0] == "x" else values for name, values in arrays().items()}
    scans = scan_folder(
        save(
            tmp_path / "y.npz",
            turned
            | {"x_train": np.ascontiguousarray(turned["x_train"]), "x_test": np.ascontiguousarray(turned["x_test"])},
        ),
        transpose=True,
    )
    assert np.array_equal(
        read(scans, "test", tmp_path / "scratch")[0].examples.images, Digits().split(1, 20)[0].reshape(20, -1)
    )


def test_size_of_flat_and_transposed_images_is_the_upright_one(tmp_path, digits_folder):
    images = arrays()["x_test"]
    flat = {
        name: values.transpose(0, 2, 1).reshape(len(values), -1) if name[0] == "x" else values
        for name, values in arrays().items()
    }
    path = save(tmp_path / "x.npz", flat)
    scans = scan_folder(path, transpose=True, image_size=(5, 4))
    found = read(scans, "test", tmp_path / "scratch")[0].examples.images
    assert scans.image_size == (5, 4)
    assert np.array_equal(found, images.reshape(20, -1))
    model = ModelImages(5, 4, ("a",), transposed=True)
    assert np.array_equal([item.image for _, item in read_items(str(path), model)], images)
    np.save(tmp_path / "y.npy", images.transpose(0, 2, 1))
    with pytest.raises(BadInput, match="expected images of 4 x 5"):
        list(read_items(str(tmp_path / "y.npy"), ModelImages(4, 5, ("a",), transposed=True)))


def test_labels_that_are_no_class_are_rejected(tmp_path):
    labels = arrays()["y_test"].astype(np.int64)
    labels[[1, 3]] = (-1, 2**40)
    scans = scan_folder(save(tmp_path / "x.npz", arrays() | {"y_test": labels}))
    [block] = read(scans, "test", tmp_path / "scratch")
    assert [(each.file, each.index, each.reason) for each in block.rejected] == [
        ("x.npz", 1, "label -1 is negative"),
        ("x.npz", 3, f"label {2**40} is not below 3"),
    ]


WRONG = {
    "objects": ({"x_train": np.array([{}] * 60)}, "an array of Python objects, which is not read"),
    "floats": ({"x_train": np.zeros((60, 5, 4), np.float32)}, r"float32\[60, 5, 4\], expected uint8, values from 0"),
    "fortran": ({"x_train": np.asfortranarray(arrays()["x_train"])}, "in Fortran order: save np.ascontiguousarray"),
    "channels": ({"x_train": np.zeros((60, 5, 4, 2), np.uint8)}, "expected grey images"),
    "sizes": ({"x_test": np.zeros((20, 4, 5), np.uint8)}, "images differ in size between splits: train 5 x 4, test 4"),
    "empty": ({"x_test": np.zeros((0, 5, 4), np.uint8)}, "expected at least one example"),
    "fewer": ({"y_test": np.zeros(19, np.uint8)}, "19 labels, expected 20, one for each image of"),
    "one-hot": ({"y_test": np.zeros((20, 3), np.uint8)}, "expected integer labels, one for each image"),
    "text": ({"y_test": np.array(["a"] * 20)}, "expected integer labels"),
}


@pytest.mark.parametrize("case", WRONG)
def test_other_arrays_are_refused(case, tmp_path):
    changed, message = WRONG[case]
    with pytest.raises(BadInput, match=message):
        scan_folder(save(tmp_path / "x.npz", arrays() | changed))


def _forge(content, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def npy(values):
    sink = io.BytesIO()
    np.save(sink, values)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no sound NumPy file"),
        (b"\x93NUMPY\x02\x00" + b"\xff" * 4, "a header of 4294967295 bytes"),
        (npy(arrays()["x_train"])[:-1], "truncated: uint8"),
        (npy(arrays()["x_train"]) + b"x", "trailing bytes"),
        (npy(arrays()["x_train"]).replace(b"(60, 5", b"(6000000, 5"), "no sound NumPy file|needs more bytes"),
        (b"PK" + bytes(99), "no NumPy array: it begins with b'PK"),
    ],
    ids=range(6),
)
def test_damaged_array_is_reported(data, message, tmp_path):
    _forge(
        {f"{name}.npy": npy(values) for name, values in arrays().items()} | {"x_train.npy": data}, tmp_path / "x.npz"
    )
    with pytest.raises(BadInput, match=message):
        scan_folder(tmp_path / "x.npz")


def test_damaged_archive_and_changed_file_are_reported(tmp_path):
    path = save(tmp_path / "x.npz")
    scans = scan_folder(path)
    save(path, arrays(digits=Digits(seed=1)))
    with pytest.raises(BadInput, match="changed while it was read"):
        read(scans, "train", tmp_path / "scratch")
    data = bytearray(path.read_bytes())
    data[400] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadInput, match="no sound NumPy file: Bad CRC-32"):
        scan_folder(path)
    path.write_bytes(data[:-30])
    with pytest.raises(BadInput, match="no sound NumPy file: File is not a zip file"):
        scan_folder(path)


def test_command_records_the_arrays(tmp_path):
    path = save(tmp_path / "x.npz", arrays(("a", "b", "c", "d")))
    options = ("preprocess", "--workspace", tmp_path / "ws", "--dataset", path)
    arrays_given = ("--arrays", "a,b,c,d")
    done = run_in_process(*options, *arrays_given)
    assert done.code == 0, done.err
    [origin] = (tmp_path / "ws").glob("origins/x-*.json")
    assert '"arrays"' in origin.read_text()
    for arguments, message in (
        (("--arrays", "a,b,c"), "expected TRAIN_IMAGES,"),
        (("--arrays", "a,b"), "one split, of which --test-share 0.2 holds out"),
        ((*arrays_given, "--label-column", "x"), "goes with"),
    ):
        refused = run_in_process(*options, *arguments)
        assert (refused.code, message in " ".join(refused.err.split())) == (2, True)


@pytest.mark.parametrize("transposed", [False, True])
def test_array_of_one_image_is_predicted_and_of_another_size_refused(transposed, tmp_path):
    image = arrays()["x_test"][0]
    model = ModelImages(5, 4, ("a",), transposed=transposed)
    np.save(tmp_path / "x.npy", np.ascontiguousarray(image.T) if transposed else image)
    [(_, item)] = read_items(str(tmp_path / "x.npy"), model)
    assert np.array_equal(item.image, image)
    for other in (np.zeros((5, 5), np.uint8), np.zeros((3, 21), np.uint8), np.zeros(20, np.uint8)):
        np.save(tmp_path / "y.npy", other)
        with pytest.raises(BadInput, match="expected images of 5 x 4 as the run's data set"):
            list(read_items(str(tmp_path / "y.npy"), model))


@pytest.mark.parametrize(
    ("names", "requested"),
    [(("x", "y"), None), (("Images", "labels"), None), (("a", "b"), ("a", "b")), (("b", "c", "a", "d"), tuple("bcad"))],
)
def test_images_are_those_of_the_arrays_of_the_data_set(names, requested, tmp_path):
    images = arrays()["x_test"]
    content = dict.fromkeys(names, 255 - images) | {names[2 if len(names) > 2 else 0]: images}
    named = NamedColumns(dataset=PictureOptions(arrays=requested))
    found = read_items(str(save(tmp_path / "x.npz", content)), ModelImages(5, 4, ("a",)), named)
    assert np.array_equal([item.image for _, item in found], images)


def test_images_of_an_array_are_predicted(tmp_path):
    np.save(tmp_path / "x.npy", arrays()["x_test"])
    read_images = [item.image for _, item in read_items(str(tmp_path / "x.npy"), ModelImages(5, 4, ("a",)))]
    assert np.array_equal(read_images, arrays()["x_test"])
    with pytest.raises(BadInput, match="expected images of 4 x 5 as the run's data set"):
        list(read_items(str(tmp_path / "x.npy"), ModelImages(4, 5, ("a",))))
