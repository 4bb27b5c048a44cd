"""The page of `backbeam report RUN`: its values equal the tables, it is self-contained, and names are escaped."""

import base64
import gzip
import hashlib
import io
import json
import re
import shlex
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.checkpoint import decode_parameters
from pipeline.evaluate.metrics import wilson
from pipeline.evaluate.table_reader import read_rows
from pipeline.sources.catalog import EMBEDDED
from pipeline.train.early_parameters import decode_early
from pipeline.train.run_lookup import find_model
from tests.helpers import Digits, run_in_process
from tests.pages import HOSTILE, read_page

SECTIONS = (
    *(
        "inspector",
        "figures",
        "learning",
        "layers",
        "confusion",
        "classes",
        "calibration",
        "mistakes",
        "weights",
        "slices",
        "data",
    ),
    *("agreement", "origin"),
)
NAMESPACES = r"http://www\.w3\.org/(1998/Math/MathML|2000/svg)"  # which are not fetched


def report(workspace, *arguments):
    done = run_in_process("report", "--workspace", workspace, "--json", *arguments)
    assert done.code == 0, done.err
    return done.json, read_page(done.json["path"])


@pytest.fixture(scope="module")
def written(digits_run, tmp_path_factory):
    return report(digits_run, "--to", tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture(scope="module")
def run_id(written):
    return written[0]["runs"][0]["run_id"]


@pytest.fixture(scope="module")
def page(written):
    return written[1]


@pytest.fixture(scope="module")
def hostile(hostile_runs):
    """The pages of a run and of two runs."""
    workspace, runs = hostile_runs
    return report(workspace, runs[1]), report(workspace, *runs)


def rows_of_test_split(workspace, table, run_id):
    return [row for row in read_rows(workspace, table, run_id).to_pylist() if row["split"] == "test"]


def pixels(uri):
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")).astype(int)


def check_self_contained(path, page):
    """Check that the page loads nothing, and has no event handlers, inline styles or other scripts."""
    for element in page.elements:
        assert element["tag"] not in ("link", "iframe", "object", "embed", "base", "form", "foreignobject")
        assert not [name for name in element if name.startswith("on") or name == "style"]
        assert element.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
        assert element.get("href", "#").startswith("#")
    kinds = [element.get("type") for element in page.all("script")]
    assert kinds in (["application/json", None], [None])
    text = re.sub(NAMESPACES, "", re.sub(r"[A-Za-z0-9+/=]{200,}", "", Path(path).read_text("utf-8")))
    assert "://" not in text


def test_the_page_has_every_section_and_is_self_contained(written, page):
    assert [each["id"] for each in page.all("section")] == list(SECTIONS)
    assert [each["href"] for each in page.all("a") if "example=" not in each["href"] and each["href"] != "#train-here"][
        1:
    ] == [f"#{name}" for name in SECTIONS]
    assert Path(written[0]["path"]).stat().st_size == written[0]["num_bytes"] < 850_000
    check_self_contained(written[0]["path"], page)


def test_the_policy_contains_the_digests_of_style_and_script(page):
    [policy] = [each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.all(tag)[-1]["text"].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_the_headline_has_the_figures_of_the_test_split(written, page, digits_run, run_id):
    [figures] = written[0]["runs"]
    [row] = [row for row in read_rows(digits_run, "evaluations", run_id).to_pylist() if row["split"] == "test"]
    assert figures == {name: row[name] for name in figures}
    head = page.all("header")[0]["text"]
    interval = wilson(row["num_correct"], row["num_examples"])
    assert f"{row['num_correct']:,} of 1,000 test examples are right" in head
    assert f"{100 * interval.low:.2f} % to {100 * interval.high:.2f} %" in head
    for said in (run_id, f"{100 * row['accuracy']:.2f} %"):
        assert said in head
    others = page.by_id("figures")["text"]
    assert f"{row['ece']:.3g}" in others
    assert f"{row['brier']:.3g}" in others
    assert "first test examples" not in others  # there are 1,000 only
    assert "Never answered" not in head


def test_the_confusion_matrix_and_the_classes_equal_the_tables(page, digits_run, run_id):
    confusion = rows_of_test_split(digits_run, "confusion", run_id)
    counts = {(row["label"], row["predicted"]): row["count"] for row in confusion}
    for label, row in enumerate(page.rows("confusion")[1:11]):  # 100 examples of a class: counts are shares in percent
        right = [f"{counts[label, i]}{counts[label, i]:.1f}" if counts[label, i] else "0" for i in range(10)]
        assert row == [str(label), *right]
    for shown, row in zip(page.rows("classes")[1:], rows_of_test_split(digits_run, "classes", run_id), strict=True):
        interval = wilson(counts[row["label"], row["label"]], row["support"])
        assert shown == [
            *(row["class_name"], str(row["support"]), str(row["num_predicted"])),
            *(f"{100 * row[name]:.1f} %" for name in ("precision", "recall")),
            *(f"{100 * interval.low:.1f} % to {100 * interval.high:.1f} %", f"{row['f1']:.3f}"),
        ]


def test_other_sections_equal_the_tables(page, digits_run, run_id):
    slices = rows_of_test_split(digits_run, "slices", run_id)
    shown = [row[:3] for row in page.rows("slices") if row[0] != "slice"]
    assert shown == [[row["slice"], f"{row['num_examples']:,}", f"{row['num_correct']:,}"] for row in slices]
    assert {row["slicing"] for row in slices} == {"class", "ink", "confidence", "part"}
    bins = rows_of_test_split(digits_run, "calibration", run_id)
    assert [row[1:3] for row in page.rows("calibration")[1:]] == [
        [str(row["num_examples"]), str(row["num_correct"])] for row in bins
    ]
    weights = read_rows(digits_run, "weights", run_id).to_pylist()
    assert [row[:2] for row in page.rows("weights")[1:]] == [[str(row["layer"]), row["parameter"]] for row in weights]
    [agreement] = read_rows(digits_run, "gradient_agreement", run_id).to_pylist()
    assert page.rows("agreement")[1][:2] == ["10,000", f"{agreement['largest_difference']:.1e}"]
    curve = read_rows(digits_run, "learning_curve", run_id).to_pylist()
    assert [row[3] for row in page.rows("learning")[1:]] == [str(row["num_correct"]) for row in curve]


def test_each_layer_has_charts_of_its_table(page, digits_run, run_id):
    section = page.by_id("layers")["text"]
    assert "Measured on 100 train examples." in section
    for title in ("Layer 1, hidden: 30 units", "Layer 2, the output: 10 units"):
        assert title in section
    charts = [each["aria-label"] for each in page.all("svg", "layers") if each.get("role") == "img"]
    assert [text.partition(".")[0] for text in charts] == 2 * [
        "Weights",
        "Activations",
        "Gradients",
        "Dead and saturated units",
    ]
    rows = read_rows(digits_run, "layer_statistics", run_id).to_pylist()
    last = [row for row in rows if row["layer"] == 2][-1]
    for text, name in zip(charts[4:6], ("weights", "activations"), strict=True):
        assert f"to {last[name][3]:,.6g} at 10,000 (steps)" in text
    assert f"to {last['gradients'][3]:.2g} at 10,000 (steps)" in charts[6]
    assert f"dead: share of the units, from 0 % at 0 (steps) to {10 * last['num_dead_units']} % at 10,000" in charts[7]
    assert len(page.all("path", "layers")) == 2 * (3 * (3 + 1) + 2) + 2  # bands and a median; two lines; the legend


def test_charts_and_images_have_text_alternatives(page):
    charts = [each for each in page.all("svg") if each.get("role") == "img"]
    assert len(charts) == 3 + 2 * 4  # four of each layer
    described = r"Loss while training\. mean loss since the last report, from 0\.\d+ at 200 \(steps\) to 0"
    assert re.match(described, charts[0]["aria-label"])
    assert all(each["alt"] for each in page.all("img"))


def test_the_most_confident_mistakes_are_shown_as_images(page, digits_run, run_id):
    wrong = [row for row in rows_of_test_split(digits_run, "predictions", run_id) if row["label"] != row["predicted"]]
    wrong.sort(key=lambda row: (-row["confidence"], row["index"]))
    source = gzip.decompress((EMBEDDED / "mnist-5k" / "t10k-images-idx3-ubyte.gz").read_bytes())
    images = np.frombuffer(source, np.uint8, offset=16).reshape(-1, 28, 28)
    shown = page.all("img", "mistakes")
    assert len(shown) == 24
    for image, row in zip(shown, wrong, strict=False):
        assert image["alt"] == f"test:{row['index']}, an example of {row['label']} taken for {row['predicted']}"
        assert (pixels(image["src"])[..., 0] == images[row["index"]]).all()
    assert f"{wrong[0]['confidence']:.3f}" in page.by_id("mistakes")["text"]


def test_first_layer_weights_are_shown_as_images(page, digits_run, run_id):
    model = find_model(digits_run, run_id)
    weights, _ = decode_parameters(model.run.parameters.read(model.folder))[0]
    full = np.quantile(np.abs(weights), 0.995)
    shown = page.all("img", "weights")
    assert len(shown) == len(weights) == 30
    for image, expected in zip(shown, weights.reshape(-1, 28, 28), strict=True):
        red, _, blue, opacity = np.moveaxis(pixels(image["src"]), 2, 0)
        assert np.allclose(opacity, 255 * np.minimum(np.abs(expected) / full, 1), atol=255 / 31)
        assert ((red > blue) == (expected > 0))[opacity > 0].all()


def test_the_inspector_has_the_parameters_and_examples_of_every_class(page, digits_run, run_id):
    data = json.loads(page.by_id("inspector-data")["text"])
    model = find_model(digits_run, run_id)
    layers = decode_parameters(model.run.parameters.read(model.folder))
    flat = np.concatenate([part.reshape(-1) for layer in layers for part in layer])
    assert base64.b64decode(data["parameters"]) == flat.astype("<f4").tobytes()
    file = model.run.early_parameters
    early = decode_early(file.read(model.folder), model.folder / file.name, model.run.config)
    assert [point["step"] for point in data["points"]] == [100, 1000]
    for point in data["points"]:
        flat = np.concatenate([part.reshape(-1) for layer in early[point["step"]] for part in layer])
        assert base64.b64decode(point["parameters"]) == flat.tobytes()
        assert len(point["parameters"]) < 500_000  # both below 1 MB
    assert data["config"]["weights_rate"] == 5.0
    shown = data["test"]
    assert len(base64.b64decode(data["images"])) == 784 * (len(data["train"]) + len(shown))
    predictions = {f"test:{row['index']}": row for row in rows_of_test_split(digits_run, "predictions", run_id)}
    assert all(predictions[each["name"]]["predicted"] == each["predicted"] for each in shown)
    missed = {row["label"] for row in predictions.values() if row["label"] != row["predicted"]}
    assert {each["label"] for each in shown if each["label"] != each["predicted"]} == missed
    assert {image["alt"].partition(",")[0] for image in page.all("img", "mistakes")} < {each["name"] for each in shown}


def test_the_inspector_trains_on_ten_examples_of_every_class_and_tests_on_as_many(page):
    data = json.loads(page.by_id("inspector-data")["text"])
    images = np.frombuffer(base64.b64decode(data["images"]), np.uint8).reshape(-1, 28, 28)
    source = gzip.decompress((EMBEDDED / "mnist-5k" / "train-images-idx3-ubyte.gz").read_bytes())
    train = np.frombuffer(source, np.uint8, offset=16).reshape(-1, 28, 28)
    for image, example in zip(images, data["train"], strict=False):
        split, _, index = example["name"].partition(":")
        assert split == "train"
        assert (train[int(index)] == image).all()
    assert Counter(each["label"] for each in data["train"]) == dict.fromkeys(range(10), 10)
    assert Counter(each["label"] for each in data["test"] if each["sampled"]) == dict.fromkeys(range(10), 10)


def test_markup_in_names_is_escaped(hostile):
    (done, page), (both, comparison) = hostile
    check_self_contained(done["path"], page)
    check_self_contained(both["path"], comparison)
    titles = [f"{label} {' '.join(name.split())}" for label, name in enumerate(HOSTILE)]
    assert [row[0] for row in comparison.rows("classes")[1:]] == titles
    assert [each["id"] for each in page.all("section")] == list(SECTIONS)
    for label, name in enumerate(HOSTILE):
        assert " ".join(f"{label} {name}".split()) in [row[0] for row in page.rows("classes")]
    assert json.loads(page.by_id("inspector-data")["text"])["class_names"] == list(HOSTILE)
    html = Path(done["path"]).read_text("utf-8")
    assert "\u2028" not in html.partition('id="inspector-data">')[2]
    assert "49" not in page.by_id("classes")["text"]
    assert "Never answered" in page.all("header")[0]["text"]
    assert len(page.all("title")) == len(comparison.all("title")) == 1
    assert re.search(r"first test examples right\s*\d+ of 1,000", page.by_id("figures")["text"])


@pytest.mark.thorough
def test_a_large_network_has_no_inspector_and_many_classes_no_matrix(tmp_path):
    source = Digits(num_train=62, num_test=62, num_classes=31).write(tmp_path / "digits")
    layers = ["--layers", "20,1300,1200,31", "--num-steps", "1"]
    done = run_in_process("run", "--workspace", tmp_path / "ws", "--dataset", source, *layers)
    assert done.code == 0, done.err
    written, page = report(tmp_path / "ws")
    assert "The network has 1,625,731 parameters" in page.by_id("inspector")["text"]
    assert written["num_bytes"] < 400_000
    assert len(page.all("img", "weights")) == 64
    assert "These are the first 64 of 1,300" in page.by_id("weights")["text"]
    assert "There are 31 classes" in page.by_id("confusion")["text"]
    listed = page.rows("confusion")
    assert listed[0] == ["class", "taken for", "examples", "share of the class"]
    assert 1 < len(listed) <= 41


def command_of(page):
    command, *settings = [each["text"] for each in page.all("pre", "origin")]
    return shlex.split(command), "".join(settings)


@pytest.mark.slow
def test_the_command_reproduces_a_run_on_user_data(tmp_path, monkeypatch):
    source = Digits(height=7).write(tmp_path / "a" / "digits")
    options = ["--num-shards", "3", "--shuffle-seed", "9", "--num-classes", "4", "--recipe", "modern", "--seed", "3"]
    done = run_in_process(
        "run", "--workspace", tmp_path / "ws", "--dataset", source, "--json", "--num-steps", "5", *options
    )
    assert done.code == 0, done.err
    _, page = report(tmp_path / "ws")
    command, settings = command_of(page)
    monkeypatch.chdir(tmp_path)
    Path("run.toml").write_text(settings)
    again = run_in_process(*command[1:], "--workspace", tmp_path / "other", "--json")
    assert again.code == 0, again.err
    assert again.json["run_id"] == done.json["run_id"]


@pytest.mark.thorough
def test_the_page_of_a_joined_data_set_without_mistakes(tmp_path):
    folders = [Digits(num_train=150, seed=seed).write(tmp_path / f"part{seed}") for seed in (1, 2)]
    named = [word for folder in folders for word in ("--dataset", folder)]
    done = run_in_process("run", "--workspace", tmp_path / "ws", "--num-steps", "800", *named)
    assert done.code == 0, done.err
    written, page = report(tmp_path / "ws")
    assert command_of(page)[0][2:6] == list(map(str, named))
    assert len([row for row in page.rows("slices") if row[0].startswith("part")]) == 2
    assert written["runs"][0]["accuracy"] == 1
    assert "every test example is right" in page.by_id("mistakes")["text"]


def test_a_copied_workspace_gives_the_same_page(digits_run, written, tmp_path):
    done, _ = report(shutil.copytree(digits_run, tmp_path / "copy"))
    assert Path(done["path"]).read_bytes() == Path(written[0]["path"]).read_bytes()
    assert done["path"] == str(tmp_path / "copy" / "reports" / "pages" / f"{done['runs'][0]['run_id']}.html")
