"""IDX files under the names that people have them by, and EMNIST's mapping and transposed images."""

import numpy as np
import pytest

from model.errors import BadInput, BadUsage
from pipeline.evaluate.image_files import ModelImages, read_items
from pipeline.sources.catalog import FILE_NAMES
from pipeline.sources.idx_files import find_idx_files
from tests.helpers import Digits, images_bytes, labels_bytes, run_in_process, write_files
from tests.pictures import read_blocks, scan_folder

EMNIST = [f"emnist-letters-{name.replace('t10k', 'test')}" for name in FILE_NAMES]


def renamed(change, digits=None):
    return {change(name): data for name, data in (digits or Digits()).files().items()}


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize(
    ("below", "change"),
    [
        (".", lambda name: name.replace("-idx", ".idx")),
        (".", lambda name: name.upper()),
        (".", lambda name: f"qmnist-{name}"),
        (".", lambda name: name.replace("t10k", "test").replace("-", "_")),
        ("raw", str),
        ("MNIST/raw", str),
    ],
    ids=range(6),
)
def test_customary_names_are_the_same_source(below, change, compress, tmp_path, digits_folder):
    write_files(tmp_path / "place" / below, renamed(change), compress)
    assert scan_folder(tmp_path / "place").infos == scan_folder(digits_folder).infos


def test_gzipped_twin_of_a_file_is_no_other_candidate(tmp_path):
    Digits().write(tmp_path)
    Digits().write(tmp_path, compress=True)
    assert [file.name for file in find_idx_files(tmp_path)] == list(FILE_NAMES)


def test_files_that_macos_hides_are_no_data_set_of_their_own(tmp_path):
    write_files(tmp_path, renamed(lambda name: f"a-{name}") | renamed(lambda name: f"._a-{name}"))
    assert [file.name for file in find_idx_files(tmp_path)] == [f"a-{name}" for name in FILE_NAMES]


def test_idx_files_of_other_names_are_listed_where_one_is_missing(tmp_path):
    write_files(tmp_path, renamed(lambda name: f"qmnist-{name.replace('idx1-ubyte', 'idx2-int')}"))
    with pytest.raises(
        BadInput,
        match=r"missing train-labels-idx1-ubyte, .*; of other names .* qmnist-t10k-labels-idx2-int, qmnist-train-",
    ):
        scan_folder(tmp_path)


def test_several_candidates_are_listed(tmp_path):
    write_files(tmp_path / "x", Digits().files() | renamed(lambda name: name.replace("-idx", ".idx")))
    with pytest.raises(BadInput, match=r"several candidates for one file: .*train-images-idx3-ubyte, .*images\.idx3"):
        scan_folder(tmp_path / "x")
    for prefix in ("a", "b"):
        write_files(tmp_path / "y", renamed(lambda name, prefix=prefix: f"{prefix}-{name}"))
    with pytest.raises(BadInput, match=r"several data sets: name one with --dataset, such as .*/y/a, .*/y/b"):
        scan_folder(tmp_path / "y")
    scans = scan_folder(tmp_path / "y" / "b")
    assert {block.images.name[:2] for block in scans.splits["train"].ranges} == {"b-"}
    (tmp_path / "y" / f"b-{FILE_NAMES[3]}").unlink()
    with pytest.raises(BadInput, match="missing t10k-labels-idx1-ubyte"):
        scan_folder(tmp_path / "y" / "b")


def letters(folder, mapping="1 65 97\n2 66 98\n3 67 99\n"):
    """Write EMNIST's letters: transposed images, labels from 1 on, and a mapping."""
    digits = Digits()
    splits = [digits.split(0, 60), digits.split(1, 20)]
    data = [
        bytes_
        for images, labels in splits
        for bytes_ in (images_bytes(images.transpose(0, 2, 1)), labels_bytes(labels + 1))
    ]
    write_files(folder, dict(zip(EMNIST, data, strict=True)))
    (folder / "emnist-letters-mapping.txt").write_text(mapping)
    return folder


def test_letters_of_emnist_are_turned_upright_and_named(tmp_path, capsys, digits_folder):
    scans = scan_folder(letters(tmp_path))
    assert "the images of EMNIST are stored transposed" in " ".join(capsys.readouterr().err.split())
    assert scans.class_names == ("A/a", "B/b", "C/c")
    for split in ("train", "test"):
        [found], [expected] = (read_blocks(each, split) for each in (scans, scan_folder(digits_folder)))
        assert np.array_equal(found.examples.images, expected.examples.images)
        assert np.array_equal(found.examples.labels, expected.examples.labels)
    left = scan_folder(tmp_path, transpose=False)
    assert (left.image_size, scans.image_size) == ((4, 5), (5, 4))
    assert left.infos[0].sha256 != scans.infos[0].sha256


@pytest.mark.parametrize(
    "mapping", ["1 65\n1 66\n", "0\n", "x 65\n", "1 65\n3 66\n", "1 65\n2 65\n", "1 10\n", "", "1 -5\n"]
)
def test_damaged_mapping_is_rejected(mapping, tmp_path):
    with pytest.raises(BadInput, match=r"emnist-letters-mapping\.txt: .*; expected a line for each class"):
        scan_folder(letters(tmp_path, mapping))


def test_mapping_is_found_in_any_case_and_after_a_byte_order_mark(tmp_path):
    letters(tmp_path, "\ufeff1 65 97\n2 66 98\n3 67 99\n")
    (tmp_path / "emnist-letters-mapping.txt").rename(tmp_path / "EMNIST-letters-Mapping.TXT")
    assert scan_folder(tmp_path).class_names == ("A/a", "B/b", "C/c")


def test_first_label_that_the_mapping_contradicts_is_refused(tmp_path):
    from pipeline.sources.source_lookup import find_source, scan_source

    with pytest.raises(BadUsage, match="has a mapping, whose first is 1"):
        scan_source(find_source(str(letters(tmp_path)), None, None), None, 2)


def test_command_records_the_transposition_and_refuses_it_for_pictures(tmp_path, digits_folder):
    options = ("preprocess", "--workspace", tmp_path / "ws", "--dataset")
    done = run_in_process(*options, letters(tmp_path / "gzip") / "emnist-letters", "--json")
    assert done.code == 0, done.err
    next((tmp_path / "ws").glob("datasets/*/train-*")).unlink()
    assert run_in_process("verify", "--repair", "--workspace", tmp_path / "ws").code == 0
    [manifest] = (tmp_path / "ws").glob("datasets/*/manifest.json")
    assert '"transposed":80' in manifest.read_text().replace(" ", "")
    refused = run_in_process(*options, "mnist-5k", "--transpose")
    assert refused.code == 2
    assert "--transpose: only data sets of your own take this" in " ".join(refused.err.split())


def test_predict_transposes_what_training_transposed(tmp_path):
    images = Digits().split(1, 20)[0]
    path = letters(tmp_path) / EMNIST[2]
    for transposed in (True, None):
        read = [item.image for _, item in read_items(str(path), ModelImages(5, 4, ("a",), transposed=transposed))]
        assert np.array_equal(read, images)


def test_predict_says_what_it_takes_for_upright_where_some_images_were_transposed(tmp_path, capsys):
    (tmp_path / "images").write_bytes(images_bytes(Digits().split(1, 3)[0]))
    list(read_items(str(tmp_path / "images"), ModelImages(5, 4, ("a",), transposed=None)))
    assert "images: its images are read as upright, by its name; some of" in " ".join(capsys.readouterr().err.split())
