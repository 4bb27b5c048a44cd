"""Pictures of several sizes as one data set: the three ways of resizing, identity, origin, and `predict`."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from model.errors import BadUsage
from pipeline.context import StageContext, StageLog
from pipeline.preprocess.dataset import load_dataset
from pipeline.preprocess.provenance import load_origin, options_given
from pipeline.preprocess.stage import DatasetConfig, config_from_origin, preprocess_stage
from pipeline.sources.catalog import PictureOptions
from pipeline.sources.image_decoding import RESIZED
from pipeline.sources.picture_resizing import resize_image
from tests.examples import example, frame
from tests.helpers import Digits, run_in_process
from tests.pictures import read_blocks, rows_table, scan_folder, write_tree

HALVES = np.repeat(np.array([[10, 200]], np.uint8), 20, axis=0).repeat(20, axis=1)  # uint8[20, 40], dark and light
MODES = ("fit", "pad", "crop")


def test_fit_fills_the_size():
    found = resize_image(HALVES, 10, 10, "fit")
    assert found.shape == (10, 10)
    assert (found[:, :4] == 10).all()
    assert (found[:, 6:] == 200).all()


def test_pad_keeps_the_aspect_ratio_and_adds_background():
    image = np.full((20, 40), 30, np.uint8)
    image[5:15, 10:30] = 250
    found = resize_image(image, 10, 10, "pad")
    assert (found[:2] == 30).all()
    assert (found[-3:] == 30).all()
    assert (found[4, 3:7] == 250).all()


def test_crop_keeps_the_middle():
    image = np.zeros((20, 40), np.uint8)
    image[:, 10:30] = 90
    assert (resize_image(image, 10, 10, "crop")[:, 1:-1] == 90).all()


@pytest.mark.parametrize("mode", MODES)
def test_images_of_extreme_shapes_are_resized_and_those_of_the_size_kept(mode):
    for shape in ((1, 3000), (3000, 1), (1, 1)):
        assert (resize_image(np.full(shape, 7, np.uint8), 5, 4, mode) == 7).all()
    assert resize_image(HALVES, 20, 40, mode) is HALVES


def write_sizes(folder, write):
    """A data set of digits in sizes that differ, as a tree, and as files that hold or name the tree's pictures."""
    tree = write_tree(folder / "tree", Digits())
    for number, path in enumerate(sorted(tree.glob("*/*/*"))):
        image = Image.open(path)
        image.resize((4 + number % 3 * 3, 5 + number % 4 * 2), Image.Resampling.NEAREST).save(path)
    if write == "tree":
        return tree
    for split in ("train", "test"):
        paths = sorted(tree.glob(f"{split}/*/*"))
        pictures = [path.read_bytes() for path in paths]
        labels = [int(path.parent.name) for path in paths]
        (folder / write).mkdir(exist_ok=True)
        if write == "rows":
            pq.write_table(rows_table(pictures, labels), folder / write / f"{split}.parquet")
        elif write == "records":
            records = b"".join(frame(example(*pair)) for pair in zip(pictures, labels, strict=True))
            (folder / write / f"{split}.tfrecord").write_bytes(records)
        else:
            names = [f"images/{path.relative_to(tree)}" for path in paths]
            pd.DataFrame({"path": names, "label": labels}).to_csv(folder / write / f"{split}.csv", index=False)
    if write == "lines":
        shutil.copytree(tree, folder / write / "images")
    return folder / write


@pytest.mark.parametrize("write", ["tree", "rows", "records", "lines"])
@pytest.mark.parametrize("mode", MODES)
def test_no_picture_is_rejected_for_its_size(mode, write, tmp_path):
    scans = scan_folder(write_sizes(tmp_path, write), resize=(5, 4), resize_mode=mode)
    [block] = read_blocks(scans, "test")
    assert (len(block.examples.labels), block.rejected) == (20, ())
    assert 10 < block.conversions.count(RESIZED) < 20


def test_resizing_is_part_of_the_identity_only_if_given(tmp_path):
    folder = write_tree(tmp_path)
    options = ({}, {"resize": (5, 4)}, {"resize": (5, 4), "resize_mode": "crop"}, {"resize": (4, 5)})
    assert len({scan_folder(folder, **each).infos for each in options}) == len(options)
    same = scan_folder(folder, resize=(5, 4), resize_mode="pad")
    assert same.infos == scan_folder(folder, resize=(5, 4)).infos


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--resize-mode", "pad"), "goes with --resize HxW"),
        (("--resize", "5x4", "--image-size", "5x4"), "not both"),
        (("--resize", "5x"), "--resize takes a height and a width"),
        (("--resize", "5x4", "--resize-mode", "squash"), "'squash'"),
        (("--resize", "5x4"), "--resize goes with files of pictures, and digits is of IDX files"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, problem, tmp_path, digits_folder):
    done = run_in_process("preprocess", "--dataset", digits_folder, *options, "--workspace", tmp_path / "ws")
    assert done.code == 2
    assert problem in done.err


def test_pixels_of_tables_are_not_resized(tmp_path):
    (tmp_path / "train.csv").write_text("label,a,b,c,d\n0,1,2,3,4\n1,1,2,3,4\n")
    (tmp_path / "test.csv").write_text("label,a,b,c,d\n0,1,2,3,4\n")
    with pytest.raises(BadUsage, match="holds pixels"):
        scan_folder(tmp_path, resize=(5, 4))
    with pytest.raises(BadUsage, match="--resize-mode is 'squash', expected fit, pad, crop"):
        DatasetConfig(pictures=PictureOptions(resize=(5, 4), resize_mode="squash"))  # type: ignore[arg-type]


def test_of_several_sources_those_of_pictures_are_resized(tmp_path, digits_folder):
    tree = write_sizes(tmp_path, "tree")
    config = DatasetConfig((str(digits_folder), str(tree)), num_classes=3, pictures=PictureOptions(resize=(5, 4)))
    workspace = tmp_path / "ws"
    joint = preprocess_stage(StageContext(workspace, ()), config, StageLog())
    assert joint.manifest.style.resize == "pad"
    origins = {path.stem: load_origin(workspace, path.stem) for path in (workspace / "origins").iterdir()}
    assert sorted(str(origin.resize) for origin in origins.values()) == ["(5, 4)", "(5, 4)", "None"]


@pytest.mark.thorough
@pytest.mark.parametrize(("write", "mode"), [("tree", "crop"), ("rows", "pad"), ("records", "fit"), ("lines", "pad")])
def test_predict_answers_as_the_table_predictions(write, mode, tmp_path):
    source = write_sizes(tmp_path, write)
    workspace = ("--workspace", tmp_path / "ws")
    options = ("--resize", "5x4", "--resize-mode", mode)
    done = run_in_process("run", "--dataset", source, *options, *workspace, "--num-steps", 50)
    assert done.code == 0, done.err
    [folder] = tmp_path.glob("ws/datasets/*")
    assert load_dataset(folder).manifest.style.resize == mode
    origin = load_origin(tmp_path / "ws", folder.name)
    assert tuple(options_given(origin)[-4:]) == options
    assert config_from_origin(origin).pictures == PictureOptions(resize=(5, 4), resize_mode=mode)
    done = run_in_process("predict", *sorted(tmp_path.glob("tree/test/*/*")), *workspace, "--json")
    assert done.code == 0, done.err
    found = pd.DataFrame(done.json["predictions"])
    table = pd.read_parquet(tmp_path / "ws" / "reports" / "predictions")
    table = table[table["split"] == "test"].sort_values("index")
    names = json.loads((folder / "manifest.json").read_text())["class_names"]
    assert list(found["class_name"]) == [names[label] for label in table["predicted"]]
    np.testing.assert_allclose(found["confidence"], table["confidence"], rtol=0, atol=1e-5)
    shards = {path: path.read_bytes() for path in folder.glob("*.tfrecord")}
    for path in shards:
        path.unlink()
    assert run_in_process("verify", "--repair", *workspace).code == 0
    assert {path: path.read_bytes() for path in folder.glob("*.tfrecord")} == shards
