"""Collect the contents of the page of one run for its template; see `comparison_page` for several runs."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from model.examples import Integers, worst_mistakes
from model.inference import StoredLayer
from pipeline.evaluate.evaluated_runs import EvaluatedRun, Row
from pipeline.evaluate.learning_evidence import find_learning_problems
from pipeline.evaluate.metrics import wilson
from pipeline.preprocess.dataset import Dataset, load_dataset
from pipeline.preprocess.manifest import Manifest
from pipeline.report.backprop_inspector import InspectedExamples, build_inspector, read_learned
from pipeline.report.curves import agreement_curve, calibration_chart, learning_charts
from pipeline.report.dataset_inspection import class_title, statistics
from pipeline.report.example_links import link_bins, link_pairs
from pipeline.report.example_selection import (
    ShownExample,
    StoredPredictions,
    read_examples,
    read_predictions,
    sample_limit,
    sample_train,
    select_mistakes,
    select_sample,
)
from pipeline.report.headline import build_headline
from pipeline.report.layer_charts import layer_charts
from pipeline.report.reproduce_command import describe_reproduction
from pipeline.report.thumbnails import diverging_tile, grey_tile
from pipeline.train.run_lookup import load_dataset_of
from pipeline.train.run_record import RunRecord
from pipeline.train.run_settings import changed_from_recipe, format_settings

SPLIT = "test"
MAX_MATRIX_CLASSES = 30  # a larger confusion matrix cannot be read: the most frequent mistakes are listed instead
MAX_PAIRS = 40
MAX_UNITS = 64
MAX_SLICES = 40  # of one slicing
MAX_MISTAKES = 24
NUM_OUTPUTS = 2  # of a mistake
NUM_SHADES = 10  # of cells; page.css defines a class for each
SLICING_TITLES = {
    "class": "By class",
    "ink": "By ink: the mean of the pixels, 0 to 255",
    "confidence": "By confidence: the largest output",
    "part": "By the data set that the example is from",
}


class ConfusionCell(NamedTuple):
    """A cell of the confusion matrix."""

    num_examples: int
    share: float  # of the examples of the row's class, 0 to 1
    heat: int  # the shade, 0 to NUM_SHADES
    right: bool  # the cell is on the diagonal


class ConfusedPair(NamedTuple):
    """The number of examples of one class that were predicted as another, and their share of the class, 0 to 1."""

    label: str
    predicted: str
    num_examples: int
    share: float


def build_run_page(evaluated: EvaluatedRun) -> dict[str, Any]:
    """Return the values for the template `run.html`; raises CorruptArtefact if a file does not verify."""
    run = evaluated.run
    dataset = load_dataset_of(evaluated.workspace, run, load_dataset)
    manifest = dataset.manifest
    names = [class_title(label, manifest.class_names) for label in range(len(manifest.class_names))]
    learned = read_learned(evaluated)
    predictions = read_predictions(evaluated.workspace, run.run_id, SPLIT)
    wrong = worst_mistakes(predictions.labels, predictions.predicted, predictions.confidence)
    mistakes, test = _read_test_examples(dataset, predictions, wrong[:MAX_MISTAKES])
    results = evaluated.rows("evaluations")
    bins = evaluated.rows("calibration", SPLIT)
    steps = evaluated.rows("learning_curve")
    settings = run.config.model_dump(mode="json", exclude_none=True).items()
    inspector = build_inspector(run.config, manifest, learned, sample_train(dataset), test)
    return {
        "run": run,
        "changed": format_settings(changed_from_recipe(run.config, manifest.splits["train"].num_examples)),
        "manifest": manifest,
        "headline": build_headline(evaluated, manifest),
        "problems": find_learning_problems(evaluated.workspace, run, evaluated.evaluation),
        "class_names": names,
        "test": next(row for row in results if row["split"] == SPLIT),
        "others": [row for row in results if row["split"] != SPLIT],
        "learning": {"charts": learning_charts([(run.run_id, steps)]), "rows": steps},
        "layers": _layers(evaluated),
        "confusion": _confusion(evaluated.rows("confusion", SPLIT), names),
        "classes": list(map(_with_interval, evaluated.rows("classes", SPLIT))),
        "calibration": calibration_chart(bins),
        "bins": bins,
        "mistakes": [_shown_mistake(example, names) for example in mistakes],  # the most confident of num_mistakes
        "num_mistakes": len(wrong),
        "units": _first_layer_units(learned.trained, manifest),
        "weights": evaluated.rows("weights"),
        "slicings": list(_slice_tables(evaluated.rows("slices", SPLIT))),
        "data": statistics(manifest),
        "agreement": agreement_curve(evaluated.rows("gradient_agreement")),
        "settings": [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in settings],
        "digests": list(_digests(run, manifest)),
        "reproduction": describe_reproduction(evaluated),
        "inspector": inspector,
        "links": _links(test.shown if inspector["data"] else [], bins),
    }


def build_learn_page(evaluated: EvaluatedRun) -> dict[str, Any]:
    """Return the values for the template `learn.html`, the inspector alone; raises CorruptArtefact."""
    run = evaluated.run
    dataset = load_dataset_of(evaluated.workspace, run, load_dataset)
    predictions = read_predictions(evaluated.workspace, run.run_id, SPLIT)
    _, test = _read_test_examples(dataset, predictions, np.zeros(0, np.int64))
    return {
        "run": run,
        "manifest": dataset.manifest,
        "test": evaluated.evaluation.test_result(),
        "inspector": build_inspector(
            run.config, dataset.manifest, read_learned(evaluated), sample_train(dataset), test
        ),
    }


def _layers(evaluated: EvaluatedRun) -> dict[str, Any] | None:
    """Return the charts of the layers; None of a run whose version of backbeam did not measure them."""
    config = evaluated.run.config
    if not evaluated.has_table("layer_statistics"):
        return None
    return layer_charts(evaluated.rows("layer_statistics"), config.activation, config.output)


def _read_test_examples(
    dataset: Dataset, predictions: StoredPredictions, worst: Integers
) -> tuple[list[ShownExample], InspectedExamples]:
    """Read the worst mistakes, int64[m] positions, and the examples of the inspector.

    These include the worst mistakes, as many as small images allow, so that a click on one can open it there.
    """
    num_pixels = dataset.manifest.num_pixels
    sample = select_sample(predictions, num_pixels)
    mistakes = [select_mistakes(predictions, num_pixels), worst[: sample_limit(num_pixels)]]
    shown = np.unique(np.concatenate([sample, *mistakes]))
    read_worst, read_sample, read_shown = read_examples(dataset, predictions, worst, sample, shown)
    return read_worst, InspectedExamples(read_shown, frozenset(example.name for example in read_sample))


def _links(examples: Sequence[ShownExample], bins: Sequence[Row]) -> dict[str, Any]:
    """Return the examples that the mistakes, the confusion matrix, and the bins and points of the calibration open."""
    of_bins = link_bins(examples, bins)
    return {
        "names": {example.name for example in examples},
        "pairs": link_pairs(examples),
        "bins": of_bins,
        "points": [name for name, row in zip(of_bins, bins, strict=True) if row["num_examples"]],
    }


def _confusion(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Any]:
    """Return the rows of the confusion matrix, none if there are too many classes, and the most frequent mistakes."""
    counts = np.zeros((len(names), len(names)), np.int64)
    for row in rows:
        counts[row["label"], row["predicted"]] = row["count"]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shades = np.ceil(NUM_SHADES * np.sqrt(shares)).astype(int)  # a square root, so that small shares are visible too
    classes = range(len(names) if len(names) <= MAX_MATRIX_CLASSES else 0)
    cells = [[ConfusionCell(counts[i, j], shares[i, j], shades[i, j], i == j) for j in classes] for i in classes]
    wrong = counts * (1 - np.eye(len(names), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MAX_PAIRS]
    positions = [divmod(int(flat), len(names)) for flat in order if wrong.flat[flat]]
    pairs = [ConfusedPair(names[i], names[j], counts[i, j], shares[i, j]) for i, j in positions]
    return {"rows": cells, "pairs": pairs}


def _with_interval(row: Row) -> Row:
    """Add the 95 % Wilson interval of the recall; without examples it is 0 to 1."""
    if not row["support"]:
        return row | {"recall_low": 0.0, "recall_high": 1.0}
    interval = wilson(round(row["recall"] * row["support"]), row["support"])
    return row | {"recall_low": interval.low, "recall_high": interval.high}


def _shown_mistake(example: ShownExample, names: Sequence[str]) -> dict[str, Any]:
    """Return an example with the largest outputs, in descending order, and that of its own class."""
    largest = np.argsort(-example.outputs, kind="stable")[:NUM_OUTPUTS].tolist()
    labels = largest if example.label in largest else [*largest, example.label]
    return {
        "name": example.name,
        "picture": grey_tile(example.image),
        "label": names[example.label],
        "predicted": names[example.predicted],
        "outputs": [(names[label], float(example.outputs[label])) for label in labels],
    }


def _first_layer_units(layers: Sequence[StoredLayer], manifest: Manifest) -> dict[str, Any]:
    """Return pictures of the first units' weights, and the absolute weight that is drawn in full colour."""
    weights, _ = layers[0]
    # a quantile, because at the scale of the few largest weights all others would be pale
    largest = float(np.quantile(np.abs(weights), 0.995)) or 1.0
    images = weights[:MAX_UNITS].reshape(-1, manifest.height, manifest.width)
    pictures = [diverging_tile(image, largest) for image in images]
    return {"pictures": pictures, "num_units": len(weights), "largest": largest}


def _slice_tables(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield the slices of each slicing; of more than MAX_SLICES those with the lowest accuracy."""
    for name, group in groupby(rows, key=itemgetter("slicing")):
        slices = sorted(group, key=itemgetter("position"))
        if len(slices) > MAX_SLICES:
            slices.sort(key=itemgetter("accuracy"))
        title = SLICING_TITLES.get(name, f"By {name}")
        yield {"title": title, "rows": slices[:MAX_SLICES], "num_left_out": len(slices[MAX_SLICES:])}


def _digests(run: RunRecord, manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield f"parameters of the model ({run.parameters.name})", run.parameters.sha256
    if run.early_parameters:
        yield f"parameters of early steps ({run.early_parameters.name})", run.early_parameters.sha256
    yield f"manifest of the data set ({run.dataset_id})", run.dataset_digest
    yield "configuration", run.config.digest
    for source in manifest.sources:
        yield f"source {source.name}, decompressed", source.sha256
