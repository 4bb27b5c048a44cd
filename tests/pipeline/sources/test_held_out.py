"""A test split held out from a tree of one split, and trees whose splits and classes have other customary names."""

import numpy as np
import pytest

from model.errors import BadInput, BadUsage
from pipeline.sources.held_out import are_test
from tests.helpers import Digits, run_in_process
from tests.pictures import png, read_blocks, scan_folder, write_rows, write_tree


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
