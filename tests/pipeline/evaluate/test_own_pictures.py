"""Predictions for the pictures of a data set: they are those that evaluation makes of its examples."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.cli.model_output import format_remarks
from pipeline.evaluate.image_files import ModelImages, read_items
from pipeline.evaluate.predict import predict_images
from pipeline.preprocess.beam_job import preprocess
from pipeline.preprocess.dataset import load_dataset
from pipeline.preprocess.manifest import Manifest, PreprocessConfig, dataset_id
from pipeline.preprocess.shards import read_shard
from pipeline.sources.picture_style import PictureStyle, is_light
from tests.helpers import Digits
from tests.pictures import png, rows_table, scan_folder

CONFIG = PreprocessConfig(seed=1, num_shards=1)
IMAGES = Digits().split(1, 12)[0]
DARK_ON_LIGHT = 255 - IMAGES // 8
COLOURED = np.stack([DARK_ON_LIGHT, DARK_ON_LIGHT // 2, DARK_ON_LIGHT], axis=3)
STROKES = np.stack([np.zeros_like(IMAGES)] * 3 + [IMAGES], axis=3)
KINDS = {
    "dark on light": DARK_ON_LIGHT,
    "light on dark": IMAGES,
    "across the border": np.full_like(IMAGES, 230) * (np.arange(4) != 2).astype(np.uint8),
    "colours": COLOURED,
    "12 bits in 16": IMAGES.astype(np.uint16) * 16,
    "strokes in alpha": STROKES,
}


def write_as_tree(folder, pictures):
    for split in ("train", "test"):
        (folder / split / "one").mkdir(parents=True)
        for number, picture in enumerate(pictures[split]):
            (folder / split / "one" / f"{number:02d}.png").write_bytes(png(picture))
    return folder


def write_as_rows(folder, pictures):
    folder.mkdir()
    for split in ("train", "test"):
        images = list(map(png, pictures[split]))
        pq.write_table(rows_table(images, [0] * len(images)), folder / f"{split}.parquet")
    return folder


@pytest.mark.parametrize("write", [write_as_tree, write_as_rows])
@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_given_the_pixels_of_the_shards(kind, write, tmp_path):
    scans = scan_folder(write(tmp_path / "source", dict.fromkeys(("train", "test"), KINDS[kind])))
    folder = tmp_path / "datasets" / dataset_id("x", scans.class_names, CONFIG, scans.infos)
    preprocess(scans, "x", CONFIG, folder, 0, [])
    manifest = load_dataset(folder).manifest
    examples = read_shard(folder, manifest, "test", manifest.splits["test"].shards[0])
    trained = examples.images[np.argsort(examples.indices)].reshape(IMAGES.shape)
    model = ModelImages(5, 4, ("one",), manifest.style)
    for number, picture in enumerate(KINDS[kind]):
        (tmp_path / "picture").write_bytes(png(picture))
        [(_, item)] = read_items(str(tmp_path / "picture"), model)
        assert np.array_equal(item.image, trained[number])
    assert {"strokes in alpha": "alpha"}.get(kind, "grey") == manifest.style.channel
    assert (trained.min(), trained.max()) == (manifest.style.darkest, manifest.style.brightest)


def test_manifest_without_a_style_is_read_and_kept(tmp_path):
    earlier = {"format_version": 1, "name": "x", "height": 5, "width": 4, "class_names": ["a"], "num_rejected": 0}
    split = {"num_examples": 0, "class_counts": [0], "pixel_std": 1.0, "shards": []}
    for mean, background in ((200.0, "light"), (30.0, "dark")):
        splits = {"train": split | {"pixel_mean": mean}}
        rest = {"config": CONFIG.model_dump(), "sources": [], "splits": splits, "rejected": None}
        manifest = Manifest.model_validate(earlier | rest)
        assert manifest.style.background == background
        assert b"pictures" not in manifest.to_json()
        assert manifest.with_style(manifest.style) == manifest
        changed = manifest.with_style(manifest.style.model_copy(update={"brightest": 9}))
        assert json.loads(changed.to_json())["pictures"]["brightest"] == 9
        assert Manifest.from_json(changed.to_json(), tmp_path).style.brightest == 9


def test_what_was_changed_is_said(tmp_path):
    large = np.pad(np.zeros((10, 8), np.uint8), 5, constant_values=255)
    (tmp_path / "large.png").write_bytes(png(large))
    (tmp_path / "exact.png").write_bytes(png(IMAGES[0]))
    files = [str(tmp_path / name) for name in ("exact.png", "large.png")]
    model = ModelImages(
        5, 4, ("one", "two"), PictureStyle(background=str(np.where(is_light(IMAGES[:1]), "light", "dark")[0]))
    )
    found = predict_images(files, model, lambda images: images[:, :2].astype(np.float32))
    assert found[0].remarks == ()
    [line] = format_remarks(found)
    assert line.startswith(f"predict: {files[1]}: the sign, 10 x 8 of 20 x 18 pixels, scaled to 4 x 3 and centred")
