"""Predictions for files, by the real command and by a fake model."""

import gzip
import io
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from model.errors import BadInput, BadUsage
from pipeline.evaluate.image_files import ModelImages
from pipeline.evaluate.predict import predict_images
from pipeline.sources.catalog import EMBEDDED
from tests.helpers import images_bytes, run_in_process

NUM_DIGITS = 200
IMAGES_FILE = EMBEDDED / "mnist-5k" / "t10k-images-idx3-ubyte.gz"
TOLERANCE = 1e-5  # the order of summation depends on the size of the batch
CLASSES = ("a", "b", "c")


def digits() -> np.ndarray:
    return np.frombuffer(gzip.decompress(IMAGES_FILE.read_bytes())[16:], np.uint8).reshape(-1, 28, 28)[:NUM_DIGITS]


def write_pictures(folder, images, change, ending="png") -> list[str]:
    folder.mkdir()
    places = [folder / f"{i}.{ending}" for i in range(len(images))]
    for place, image in zip(places, images, strict=True):
        change(Image.fromarray(image)).save(place)
    return list(map(str, places))


def draw_enlarged(method):
    """Return a function that draws a digit ten times enlarged, dark on light, off centre on a canvas of 600 x 450."""

    def change(image: Image.Image) -> Image.Image:
        canvas = Image.new("L", (450, 600), 255)
        canvas.paste(image.resize((280, 280), method).point([255 - value for value in range(256)]), (120, 50))
        return canvas

    return change


def predict(workspace, files, *options):
    done = run_in_process("predict", *files, "--workspace", workspace, "--json", *options)
    assert done.code == 0, done.err
    return pd.DataFrame(done.json["predictions"])


def test_predictions_for_pictures_idx_and_evaluation_agree(digits_run, tmp_path):
    idx = tmp_path / "digits.gz"
    idx.write_bytes(gzip.compress(images_bytes(digits())))
    pictures = write_pictures(tmp_path / "png", digits(), Image.Image.copy)
    found = predict(digits_run, [idx, *pictures])
    from_idx, from_pictures = found[:NUM_DIGITS], found[NUM_DIGITS:]
    assert list(from_idx["index"]) == list(range(NUM_DIGITS))
    assert set(from_idx["file"]) == {str(idx)}
    assert list(from_pictures["file"]) == pictures
    assert from_pictures["index"].isna().all()
    for column in ("class_name", "runner_up"):
        assert list(from_idx[column]) == list(from_pictures[column])
    np.testing.assert_allclose(from_idx["confidence"], from_pictures["confidence"], rtol=0, atol=TOLERANCE)

    evaluated = pd.read_parquet(digits_run / "reports" / "predictions")
    evaluated = evaluated[evaluated["split"] == "test"].sort_values("index")[:NUM_DIGITS]
    assert list(from_idx["class_name"].astype(int)) == list(evaluated["predicted"])
    np.testing.assert_allclose(from_idx["confidence"], evaluated["confidence"], rtol=0, atol=TOLERANCE)
    second = [np.sort(values)[-2] for values in evaluated["probabilities"]]
    np.testing.assert_allclose(from_idx["runner_up_confidence"], second, rtol=0, atol=TOLERANCE)


def test_predictions_for_enlarged_inverted_and_moved_digits_mostly_agree(digits_run, tmp_path):
    """Measured for these 200: 197 agree with repeated pixels, 192 with bicubic interpolation."""
    methods = (Image.Resampling.NEAREST, Image.Resampling.BICUBIC)
    folders = [write_pictures(tmp_path / method.name, digits(), draw_enlarged(method)) for method in methods]
    idx = tmp_path / "digits"
    idx.write_bytes(images_bytes(digits()))
    answers = predict(digits_run, [idx, *folders[0], *folders[1]])["class_name"].to_numpy()
    expected, repeated, smoothed = answers.reshape(3, NUM_DIGITS)
    assert (repeated == expected).mean() >= 0.95
    assert (smoothed == expected).mean() >= 0.93


def test_one_line_is_printed_for_each_image_unless_a_file_is_corrupt(digits_run, tmp_path):
    [picture] = write_pictures(tmp_path / "jpg", digits()[:1], draw_enlarged(Image.Resampling.BICUBIC), "jpg")
    idx = tmp_path / "two"
    idx.write_bytes(images_bytes(digits()[:2]))
    done = run_in_process("predict", picture, idx, "--workspace", digits_run, "--run", "article")
    lines = done.out.splitlines()
    assert (done.code, len(lines)) == (0, 3)
    assert [line.partition(": ")[0] for line in lines] == [picture, f"{idx}[0]", f"{idx}[1]"]
    assert lines[1].endswith(")")
    assert ", then " in lines[1]
    write_pictures(tmp_path / "png", digits()[:1], Image.Image.copy)
    (tmp_path / "cut.png").write_bytes((tmp_path / "png" / "0.png").read_bytes()[:90])
    done = run_in_process("predict", picture, tmp_path / "cut.png", "--workspace", digits_run)
    assert (done.code, done.out) == (3, "")
    assert f"{tmp_path / 'cut.png'}: not a sound PNG picture" in done.err
    assert "Traceback" not in done.err


def test_predict_needs_the_model_but_no_shards(digits_run, tmp_path):
    workspace = shutil.copytree(digits_run, tmp_path / "ws")
    for shard in workspace.glob("datasets/*/*.tfrecord"):
        shard.unlink()
    assert len(predict(workspace, [IMAGES_FILE])) == 1000
    [parameters] = workspace.glob("runs/*/parameters.safetensors")
    parameters.write_bytes(parameters.read_bytes()[:-1] + b"x")
    done = run_in_process("predict", IMAGES_FILE, "--workspace", workspace)
    assert (done.code, done.out, str(parameters) in done.err) == (4, "", True)


def brightest(images: np.ndarray) -> np.ndarray:
    """A fake model of 5 x 4 pixels, whose outputs are the first three pixels."""
    assert images.shape[1] == 20
    return (images[:, :3] / 255).astype(np.float32)


def predict_with(file, classify=brightest, class_names=CLASSES):
    return predict_images([str(file)], ModelImages(5, 4, class_names), classify)


def test_order_is_kept_over_several_batches(tmp_path):
    images = np.zeros((2500, 5, 4), np.uint8)
    images[:, 0, :3] = np.random.default_rng(0).integers(0, 256, (2500, 3))
    for name, data in (("plain", images_bytes(images)), ("zipped", gzip.compress(images_bytes(images)))):
        (tmp_path / name).write_bytes(data)
        found = predict_with(tmp_path / name)
        assert [item.index for item in found] == list(range(2500))
        assert [item.class_name for item in found] == [CLASSES[i] for i in images[:, 0, :3].argmax(axis=1)]
        assert [item.confidence for item in found] == list((images[:, 0].max(axis=1) / 255).astype(np.float32))


def test_first_of_equal_outputs_wins_and_single_class_has_no_runner_up(tmp_path):
    (tmp_path / "images").write_bytes(images_bytes(np.full((1, 5, 4), 9)))
    [found] = predict_with(tmp_path / "images")
    assert (found.class_name, found.runner_up) == ("a", "b")
    [found] = predict_with(tmp_path / "images", lambda images: np.ones((len(images), 1), np.float32), ("it",))
    assert (found.class_name, found.runner_up, found.runner_up_confidence) == ("it", None, None)


def test_outputs_that_are_not_finite_are_an_error(tmp_path):
    (tmp_path / "images").write_bytes(images_bytes(np.zeros((1, 5, 4))))
    with pytest.raises(BadUsage, match="diverged"):
        predict_with(tmp_path / "images", lambda images: np.full((len(images), 3), np.nan, np.float32))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "no such file"),
        (b"", r"neither a picture \(PNG, JPEG, BMP, GIF, WebP, TIFF or PNM\) nor a file of images"),
        (b"II+\0", "a BigTIFF picture: neither"),
        (images_bytes(np.zeros((1, 5, 4)))[:-1], "truncated"),
        (gzip.compress(images_bytes(np.zeros((1, 5, 4))) + bytes(10**7), mtime=0), "trailing bytes"),
        (images_bytes(np.zeros((2, 4, 5))), "images of 4 x 5 pixels, expected 5 x 4 as the run's data set"),
        (gzip.compress(b"a text", mtime=0), "the magic number is"),
    ],
)
def test_bad_file_is_rejected_and_named(data, message, tmp_path):
    if data is not None:
        (tmp_path / "images").write_bytes(data)
    with pytest.raises(BadInput, match=message) as caught:
        predict_with(tmp_path / "images")
    assert str(tmp_path / "images") in str(caught.value)


def test_file_that_may_not_be_read_is_rejected_and_named(tmp_path, monkeypatch):
    """By a stand-in: the user root may read every file."""
    file = tmp_path / "images"
    file.write_bytes(images_bytes(np.zeros((1, 5, 4))))

    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr("pipeline.evaluate.image_files.read_range", refuse)
    with pytest.raises(BadInput, match="images cannot be read: Permission denied"):
        predict_with(file)


def test_picture_file_that_is_too_long_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.evaluate.image_files.MAX_PICTURE_BYTES", 60)
    stream = io.BytesIO()
    Image.fromarray(np.eye(9, dtype=np.uint8) * 255).save(stream, "PNG")
    (tmp_path / "image").write_bytes(stream.getvalue())
    with pytest.raises(BadInput, match="expected at most 60 for a picture"):
        predict_with(tmp_path / "image")
