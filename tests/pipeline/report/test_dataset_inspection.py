"""`backbeam inspect`: statistics and contact sheets."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.preprocess.dataset import load_dataset
from pipeline.report.contact_sheet import SheetRow, Tile, draw_classes, draw_named, tile_size
from pipeline.report.dataset_inspection import pick_examples
from tests.helpers import Digits, run_in_process


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    place = tmp_path_factory.mktemp("inspect")
    done = run_in_process("preprocess", "--workspace", place / "ws", "--dataset", Digits().write(place / "digits"))
    assert done.code == 0, done.err
    return place / "ws"


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def test_statistics_equal_the_source_and_the_sheet_is_reproducible(workspace, tmp_path):
    found = run_in_process(
        "inspect", "--workspace", workspace, "--to", tmp_path / "sheets", "--per-class", 4, "--json"
    ).json
    images = Digits().split(0, 60)[0]
    train = found["splits"]["train"]
    assert (train["num_examples"], train["pixel_mean"]) == (60, pytest.approx(images.mean()))
    assert train["pixel_std"] == pytest.approx(images.std())
    assert [row["num_examples"] for row in train["classes"]] == [20, 20, 20]
    assert found["image_size"] == [5, 4]
    assert found["validation"]["passed"]
    assert found["sheet"] == str(tmp_path / "sheets" / "classes.png")
    first = (tmp_path / "sheets" / "classes.png").read_bytes()
    run_in_process("inspect", "--workspace", workspace, "--to", tmp_path / "sheets", "--per-class", 4)
    assert (tmp_path / "sheets" / "classes.png").read_bytes() == first
    text = run_in_process("inspect", "--workspace", workspace, "--split", "test").out
    assert "test_in_train" in text
    assert str(workspace / "inspect") in text


def test_named_examples_have_the_images_of_the_source(workspace, tmp_path):
    done = run_in_process("inspect", "--workspace", workspace, "--to", tmp_path, "--examples", "train:42,7", "--json")
    assert done.json["examples"] == [
        {"split": "train", "index": 42, "label": 0},
        {"split": "train", "index": 7, "label": 1},
    ]
    image, _ = Digits().split(0, 60)
    enlarged = image[42].repeat(11, axis=0).repeat(11, axis=1)
    sheet = pixels((tmp_path / "examples.png").read_bytes())
    windows = np.lib.stride_tricks.sliding_window_view(sheet, enlarged.shape)
    assert (windows == enlarged).all(axis=(2, 3)).sum() == 1


def test_examples_of_every_class_are_picked_from_the_first_shards(tmp_path):
    source = Digits().write(tmp_path / "digits")
    done = run_in_process("preprocess", "--workspace", tmp_path, "--dataset", source, "--num-shards", 3)
    assert done.code == 0, done.err
    [folder] = (tmp_path / "datasets").iterdir()
    dataset = load_dataset(folder)
    every = pick_examples(dataset, "train", 100)
    assert [len(examples) for examples in every] == [20, 20, 20]
    assert [{example.label for example in examples} for examples in every] == [{0}, {1}, {2}]
    first = pick_examples(dataset, "train", 100, most_read=1)
    assert 0 < sum(map(len, first)) == dataset.manifest.splits["train"].shards[0].num_examples < 60
    assert [len(examples) for examples in pick_examples(dataset, "train", 2)] == [2, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--examples", "train:60"], "has no example train:60"),
        (["--examples", "trian:1"], "no split 'trian'"),
        (["--examples", "train:1,-2"], "such as train:17,42"),
        (["--split", "validation"], "no split 'validation'; there are: test, train"),
    ],
)
def test_invalid_options_are_rejected(arguments, message, workspace, tmp_path):
    done = run_in_process("inspect", "--workspace", workspace, "--to", tmp_path / "sheets", *arguments)
    assert done.code == 2
    assert message in " ".join(done.err.split())
    assert not (tmp_path / "sheets").exists()


@pytest.mark.parametrize(
    ("height", "width", "size"), [(28, 28, (56, 56)), (5, 4, (44, 55)), (60, 80, (80, 60)), (300, 150, (56, 112))]
)
def test_images_are_enlarged_by_a_whole_factor_or_reduced(height, width, size):
    assert tile_size(height, width) == size


def test_large_images_are_reduced_to_the_largest_size():
    sheet = draw_named("x", [Tile(np.zeros((300, 150), np.uint8), ("train:1", "0"))], 300, 150)
    assert (pixels(sheet) == 0).sum() >= 56 * 112


def test_many_classes_are_drawn_in_blocks_side_by_side():
    image = np.zeros((28, 28), np.uint8)
    rows = [SheetRow(f"a class with a long name, number {n}", "1 examples", [image]) for n in range(26)]
    tall = pixels(draw_classes("x", rows[:13], 3, 28, 28))
    wide = pixels(draw_classes("x", rows, 3, 28, 28))
    assert tall.shape[0] == wide.shape[0]
    assert wide.shape[1] > 2 * tall.shape[1] - 100
