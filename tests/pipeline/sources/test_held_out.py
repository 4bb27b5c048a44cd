"""A test split held out from a tree of one split, and trees whose splits and classes have other customary names."""

import gzip
from contextlib import ExitStack

import numpy as np
import pytest

from model.errors import BadInput, BadUsage
from pipeline.maintenance.rebuild import rebuild_dataset
from pipeline.sources.blocks import ExampleFormat
from pipeline.sources.catalog import FILE_NAMES
from pipeline.sources.held_out import are_test
from pipeline.sources.split_files import HasTestSplit
from tests.helpers import Digits, run_in_process, write_files
from tests.pictures import png, read_blocks, scan_folder, write_rows, write_tree
from tests.three_splits import write_splits


def classes_alone(folder, digits=None):
    write_tree(folder.with_name("whole"), digits)
    (folder.with_name("whole") / "train").rename(folder)
    return folder


def images_of(scans, split):
    return [image.tobytes() for block in read_blocks(scans, split) for image in block.examples.images]


def test_every_image_is_on_one_side_and_stays_there(tmp_path):
    few = scan_folder(classes_alone(tmp_path / "few", Digits(num_train=60)), test_share=0.3)
    many = scan_folder(classes_alone(tmp_path / "many", Digits(num_train=600)), test_share=0.3)
    sides = {split: (set(images_of(few, split)), set(images_of(many, split))) for split in ("train", "test")}
    assert all(first for first, _ in sides.values())
    assert {len(sides["train"][0] | sides["test"][0]), len(sides["train"][0]) + len(sides["test"][0])} == {60}
    assert sides["train"][0] & sides["test"][1] == sides["test"][0] & sides["train"][1] == set()
    assert 0.2 < len(sides["test"][1]) / 600 < 0.4


def test_share_is_that_of_the_hashes():
    images = np.random.default_rng(0).integers(0, 256, (2000, 9), np.uint8)
    low, high = are_test(images, 0.1), are_test(images, 0.5)
    assert (low.mean(), high.mean()) == (pytest.approx(0.1, abs=0.02), pytest.approx(0.5, abs=0.03))
    assert not (low & ~high).any()
    assert np.array_equal(are_test(np.repeat(images, 2, axis=0), 0.5), np.repeat(high, 2))


@pytest.mark.parametrize("name", ["train", "test", "val"])
def test_class_may_have_the_name_of_a_split(name, tmp_path):
    folder = classes_alone(tmp_path / "flat")
    expected = {*images_of(scan_folder(folder, test_share=0.2), "test")}
    (folder / "1").rename(folder / name)
    scans = scan_folder(folder, test_share=0.2)
    assert scans.class_names == ("0", "2", name)
    assert {*images_of(scans, "test")} == expected


def test_identity_depends_on_the_share_and_not_on_the_folder_of_train(tmp_path):
    folder = classes_alone(tmp_path / "flat")
    flat = scan_folder(folder, test_share=0.2)
    below = tmp_path / "below" / "Training"
    below.parent.mkdir()
    folder.rename(below)
    assert (
        scan_folder(below.parent, test_share=0.2).infos == flat.infos != scan_folder(below.parent, test_share=0.3).infos
    )
    (below.parent / "test").mkdir()
    with pytest.raises(BadUsage, match="has a test split already"):
        scan_folder(below.parent, test_share=0.2)


def test_command_holds_out_and_its_part_is_joined(tmp_path):
    tree = classes_alone(tmp_path / "flat")
    (tree / "1" / "broken.png").write_bytes(b"")
    options = ("preprocess", "--workspace", tmp_path / "ws", "--dataset")
    done = run_in_process(*options, tree, "--test-share", 0.25, "--max-rejected", 1, "--json")
    assert done.code == 0, done.err
    counts = done.json["num_examples"]
    assert sum(counts.values()) == 60
    assert 5 <= counts["test"] <= 25
    assert '"test_share":0.25' in next((tmp_path / "ws").glob("origins/*.json")).read_text().replace(" ", "")
    for arguments, message in (
        ((tree, "--test-share", 1), "between 0 and 1"),
        (("mnist-5k", "--test-share", 0.5), "only data sets of your"),
    ):
        refused = run_in_process(*options, *arguments)
        assert (refused.code, message in " ".join(refused.err.split())) == (2, True)


def test_tables_of_one_split_are_divided_as_trees_are(tmp_path):
    tree = scan_folder(classes_alone(tmp_path / "flat"), test_share=0.3)
    file = write_rows(tmp_path / "rows") / "train.parquet"
    rows = scan_folder(file, test_share=0.3)
    for split in ("train", "test"):
        assert sorted(images_of(rows, split)) == sorted(images_of(tree, split))
    with pytest.raises(BadUsage, match=r"--test-share 0\.2 splits one file"):
        scan_folder(file)
    with pytest.raises(BadUsage, match=r"has a test split, test\.parquet: leave out the option"):
        scan_folder(file.parent, test_share=0.3)
    (file.parent / "test.parquet").unlink()
    assert scan_folder(file.parent, test_share=0.3).infos == rows.infos
    file.with_name("digits.csv").write_text("label,a,b,c,d\n" + "".join(f"{n % 2},{n},2,3,4\n" for n in range(50)))
    assert len(images_of(scan_folder(file.with_name("digits.csv"), test_share=0.5), "test")) in range(10, 40)


@pytest.mark.parametrize("ending", ["csv", "tsv.gz"])
def test_csv_files_of_a_folder_need_no_word_of_a_split(ending, tmp_path):
    data = ("label,a,b,c,d\n" + "".join(f"{n % 2},{n},2,3,4\n" for n in range(50))).encode()
    file = tmp_path / f"digits.{ending}"
    file.write_bytes(gzip.compress(data, mtime=0) if ending.endswith("gz") else data)
    assert scan_folder(tmp_path, test_share=0.3).infos == scan_folder(file, test_share=0.3).infos


def test_pictures_that_a_csv_file_names_are_divided_as_a_tree_is(tmp_path):
    folder = tmp_path / "named"
    folder.mkdir()
    images = classes_alone(tmp_path / "flat").rename(folder / "images")
    lines = [f"{path.relative_to(images)},{path.parent.name}" for path in sorted(images.glob("*/*"))]
    (folder / "labels.csv").write_text("path,label\n" + "\n".join(lines))
    tree = scan_folder(images, test_share=0.3)
    named = scan_folder(folder, test_share=0.3)
    assert named.class_names == tree.class_names
    for split in ("train", "test"):
        assert images_of(named, split) == images_of(tree, split)


def test_workspace_beside_the_class_folders_is_no_class(tmp_path):
    tree = classes_alone(tmp_path / "pictures")
    expected = scan_folder(tree, test_share=0.3)
    done = run_in_process("preprocess", tree, "--test-share", "0.3", "--workspace", tree / "ws")
    assert done.code == 0, done.err
    assert scan_folder(tree, test_share=0.3).infos == expected.infos


def test_notes_beside_a_tree_of_one_split_are_no_table(tmp_path):
    tree = classes_alone(tmp_path / "below" / "train")
    expected = scan_folder(tree.parent, test_share=0.3).infos
    (tree.parent / "notes.csv").write_text("image,remark\n1.png,good\n")
    assert scan_folder(tree.parent, test_share=0.3).infos == expected


def write_idx_pair(folder, compress=False, digits=None):
    files = (digits or Digits()).files()
    return write_files(folder, {name: files[name] for name in FILE_NAMES[:2]}, compress)


def save_arrays(path, names):
    np.savez(path, **dict(zip(names, Digits().split(0, 60), strict=True)))
    return path


def read_images(scans, split, scratch):
    target = ExampleFormat(*scans.image_size, len(scans.class_names))
    scratch.mkdir(exist_ok=True)
    with ExitStack() as stack:
        ranges = scans.splits[split].open(stack, scratch)
        return [image.tobytes() for each in ranges for block in each.read(target) for image in block.examples.images]


@pytest.mark.parametrize("compress", [False, True])
def test_idx_files_of_one_split_are_divided_as_trees_are(compress, tmp_path):
    tree = scan_folder(classes_alone(tmp_path / "flat"), test_share=0.3)
    folder = write_idx_pair(tmp_path / "idx", compress)
    scans = scan_folder(folder, test_share=0.3)
    for split in ("train", "test"):
        assert sorted(read_images(scans, split, tmp_path / "scratch")) == sorted(images_of(tree, split))
    with pytest.raises(BadInput, match=r"missing t10k-images-idx3-ubyte, t10k-labels.*; --test-share 0\.2 holds out"):
        scan_folder(folder)
    (folder / FILE_NAMES[2]).write_bytes(b"")
    with pytest.raises(HasTestSplit, match="has a test split, t10k-images-idx3-ubyte: leave out the option"):
        scan_folder(folder, test_share=0.3)


@pytest.mark.parametrize("names", [("x", "y"), ("x_train", "y_train"), ("Images", "Labels"), ("a", "b")])
def test_arrays_of_one_split_are_divided_as_idx_files_are(names, tmp_path):
    file = save_arrays(tmp_path / "digits.npz", names)
    options = {"arrays": names} if names == ("a", "b") else {}
    scans = scan_folder(file, test_share=0.3, **options)
    assert scans.infos == scan_folder(write_idx_pair(tmp_path / "idx"), test_share=0.3).infos
    assert len(read_images(scans, "test", tmp_path / "scratch")) in range(6, 30)
    with pytest.raises((BadInput, BadUsage), match=r"--test-share 0\.2 holds out a test split"):
        scan_folder(file, **options)


def test_two_array_files_are_one_split_and_four_are_two(tmp_path):
    images, labels = Digits().split(0, 60)
    np.save(tmp_path / "i.npy", images)
    np.save(tmp_path / "l.npy", labels)
    pair = f"{tmp_path / 'i.npy'},{tmp_path / 'l.npy'}"
    expected = scan_folder(write_idx_pair(tmp_path / "idx"), test_share=0.3)
    assert scan_folder(pair, test_share=0.3).infos == expected.infos
    with pytest.raises(BadUsage, match=r"or, with --test-share 0\.2, two: IMAGES\.npy,LABELS\.npy"):
        scan_folder(pair)
    with pytest.raises(HasTestSplit):
        scan_folder(f"{pair},{pair}", test_share=0.3)
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez(tmp_path / "both.npz", **dict(zip(names, (images, labels, images, labels), strict=True)))
    for options in ({}, {"arrays": names}):
        with pytest.raises(HasTestSplit, match=r"has a test split, x_test: leave|--arrays names 4 arrays, expected"):
            scan_folder(tmp_path / "both.npz", test_share=0.3, **options)
    assert scan_folder(tmp_path / "both.npz", test_share=0.3, arrays=names[2:]).infos == expected.infos


@pytest.mark.parametrize("layout", ["idx", "numpy"])
def test_validation_split_of_arrays_stays_beside_the_held_out_one(layout, tmp_path):
    words = {"train": "train", "validation": "val"}
    scans = scan_folder(write_splits(tmp_path / "two", layout, words), test_share=0.3)
    whole = scan_folder(write_splits(tmp_path / "three", layout, words | {"test": "test"}))
    assert list(scans.splits) == ["train", "test", "validation"]
    assert scans.splits["validation"].infos == whole.splits["validation"].infos
    assert len(read_images(scans, "validation", tmp_path / "scratch")) == 15
    with pytest.raises(HasTestSplit, match="has a test split"):
        scan_folder(tmp_path / "three", test_share=0.3)


@pytest.mark.thorough
def test_of_several_sources_those_with_a_test_split_keep_it(tmp_path):
    pair = write_idx_pair(tmp_path / "pair")
    tree = write_tree(tmp_path / "tree", Digits(seed=5))
    options = ("preprocess", "--workspace", tmp_path / "ws", "--json", "--test-share", 0.25, "--dataset")
    done = run_in_process(*options, tree, "--dataset", pair)
    assert done.code == 0, done.err
    assert "tree is read without --test-share, which goes to other sources" in " ".join(done.err.split())
    assert sum(done.json["num_examples"].values()) == 60 + 20 + 60
    refused = run_in_process(*options, tree, "--dataset", write_tree(tmp_path / "other"))
    assert (refused.code, "--test-share fits none of the sources" in refused.err) == (2, True)
    rebuilt = rebuild_dataset(tmp_path / "ws", done.json["dataset_id"], tmp_path / "scratch")
    assert rebuilt.folder.name == done.json["dataset_id"]
    for part in done.json["parts"]:
        assert rebuild_dataset(tmp_path / "ws", part, tmp_path / "scratch").folder.name == part


def test_splits_have_other_words(tmp_path):
    expected = scan_folder(write_tree(tmp_path / "tree"))
    for split in ("train", "test"):
        (tmp_path / "tree" / split).rename(tmp_path / "tree" / f"{split.capitalize()}ing")
    scans = scan_folder(tmp_path / "tree")
    assert scans.infos == expected.infos
    assert images_of(scans, "test") == images_of(scans, "test")
    (tmp_path / "tree" / "train").mkdir()
    with pytest.raises(BadInput, match="several folders of one split"):
        scan_folder(tmp_path / "tree")


def test_numeric_classes_are_in_the_order_of_their_numbers(tmp_path):
    for split in ("train", "test"):
        for name in ("10", "9", "2", "0"):
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "1.png").write_bytes(png(np.full((2, 2), int(name), np.uint8)))
    scans = scan_folder(tmp_path)
    assert scans.class_names == ("0", "2", "9", "10")
    assert [image[0] for image in images_of(scans, "test")] == [0, 2, 9, 10]
