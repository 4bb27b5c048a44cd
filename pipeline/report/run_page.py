"""Collect the contents of the page of one run, as records for the template; see `comparison_page` for several runs."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from math import ceil, sqrt
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from model.recipes import TrainingConfig
from pipeline.evaluate.evaluated_runs import EvaluatedRun, Row
from pipeline.evaluate.metrics import wilson
from pipeline.preprocess.manifest import Manifest
from pipeline.report.backprop_inspector import InspectorData, build_inspector
from pipeline.report.charts import Chart
from pipeline.report.curves import (
    AgreementCurve,
    LearningCurve,
    agreement_curve,
    calibration_chart,
    learning_curve,
)
from pipeline.report.dataset_inspection import class_title, statistics
from pipeline.report.example_selection import (
    ANSWERS,
    ShownExample,
    read_answers,
    read_examples,
    select_mistakes,
    select_mixed,
)
from pipeline.report.parameters import Layers, read_layers
from pipeline.report.reproduce_command import ReproduceCommand, describe_reproduction
from pipeline.report.thumbnails import diverging_tile, grey_tile

SPLIT = "test"
MAX_MATRIX_CLASSES = 30  # a larger confusion matrix cannot be read: the most frequent mistakes are listed instead
MAX_PAIRS = 40
MAX_UNITS = 64
MAX_SLICES = 40  # of one slicing
NUM_OUTPUTS = 2  # of a mistake
NUM_SHADES = 10  # of cells; page.css defines a class for each
SLICING_TITLES = {
    "class": "By class",
    "ink": "By ink: the mean of the pixels, 0 to 255",
    "confidence": "By confidence: the largest output",
    "part": "By the data set that the example is from",
}


class ConfusionCell(NamedTuple):
    """A cell of the confusion matrix.

    Attributes:
        num_examples: the number of examples.
        share: the fraction of the examples of the row's class, 0 to 1.
        heat: the shade, 0 to NUM_SHADES.
        right: whether the cell is on the diagonal.
    """

    num_examples: int
    share: float
    heat: int
    right: bool


class ConfusedPair(NamedTuple):
    """The number of examples of one class that were predicted as another, and their share of the class, 0 to 1."""

    label: str
    predicted: str
    num_examples: int
    share: float


class Confusion(NamedTuple):
    """The confusion matrix of a split.

    Attributes:
        rows: one for each true class; empty if there are more than MAX_MATRIX_CLASSES classes.
        pairs: the most frequent mistakes, at most MAX_PAIRS.
    """

    rows: tuple[tuple[ConfusionCell, ...], ...]
    pairs: tuple[ConfusedPair, ...]


class ShownMistake(NamedTuple):
    """A misclassified example.

    Attributes:
        name: SPLIT:INDEX such as test:17.
        picture: the image as a data URI.
        label: the name of the true class.
        predicted: the name of the predicted class.
        outputs: (class name, output) of the largest outputs in descending order, and of the true class.
    """

    name: str
    picture: str
    label: str
    predicted: str
    outputs: tuple[tuple[str, float], ...]


class FirstLayerUnits(NamedTuple):
    """The weights of the first layer as images.

    Attributes:
        pictures: a data URI for each of the first MAX_UNITS units.
        num_units: the number of units.
        largest: the absolute weight that is drawn in full colour.
    """

    pictures: tuple[str, ...]
    num_units: int
    largest: float


class SliceTable(NamedTuple):
    """The slices of one slicing.

    Attributes:
        title: the title of the slicing.
        rows: rows of the table `slices`, at most MAX_SLICES.
        num_left_out: the number of further rows.
    """

    title: str
    rows: tuple[Row, ...]
    num_left_out: int


class RunPage(NamedTuple):
    """The contents of the page; see each field's record.

    Attributes:
        test: the row of the table `evaluations` for the test split, `others` those for other splits.
        classes: rows of the table `classes` with a confidence interval of the recall.
        calibration: the chart of the table `calibration`, `bins` its rows.
        mistakes: the most confident of `num_mistakes`.
        data: see `statistics`.
        digests: (artefact, SHA-256) of the run and of what it was made from.
    """

    run: Any
    manifest: Manifest
    class_names: tuple[str, ...]
    test: Row
    others: tuple[Row, ...]
    curve: LearningCurve
    confusion: Confusion
    classes: tuple[Row, ...]
    calibration: Chart
    bins: tuple[Row, ...]
    mistakes: tuple[ShownMistake, ...]
    num_mistakes: int
    units: FirstLayerUnits
    weights: tuple[Row, ...]
    slicings: tuple[SliceTable, ...]
    data: dict[str, Any]
    agreement: AgreementCurve
    settings: tuple[tuple[str, str], ...]
    digests: tuple[tuple[str, str], ...]
    reproduction: ReproduceCommand
    inspector: InspectorData


def build_run_page(evaluated: EvaluatedRun) -> RunPage:
    """Return the contents of the page of a run.

    Raises:
        CorruptArtefact: a table, the parameters or a shard does not verify.
    """
    run = evaluated.run
    manifest = evaluated.dataset.manifest
    names = tuple(class_title(label, manifest.class_names) for label in range(len(manifest.class_names)))
    layers = read_layers(run.parameters.read(evaluated.folder))
    answers = read_answers(evaluated.table("predictions", ANSWERS), SPLIT)
    worst, mixed = read_examples(
        evaluated.dataset, answers, select_mistakes(answers), select_mixed(answers, manifest.num_pixels)
    )
    results = evaluated.rows("evaluations")
    bins = tuple(evaluated.rows("calibration", SPLIT))
    return RunPage(
        run=run,
        manifest=manifest,
        class_names=names,
        test=next(row for row in results if row["split"] == SPLIT),
        others=tuple(row for row in results if row["split"] != SPLIT),
        curve=learning_curve([(run.run_id, evaluated.rows("learning_curve"))]),
        confusion=_confusion(evaluated.rows("confusion", SPLIT), names),
        classes=tuple(map(_with_interval, evaluated.rows("classes", SPLIT))),
        calibration=calibration_chart(bins),
        bins=bins,
        mistakes=tuple(_shown_mistake(example, names) for example in worst),
        num_mistakes=int((answers.labels != answers.predicted).sum()),
        units=_first_layer_units(layers, manifest),
        weights=tuple(evaluated.rows("weights")),
        slicings=tuple(_slice_tables(evaluated.rows("slices", SPLIT))),
        data=statistics(manifest),
        agreement=agreement_curve(evaluated.rows("gradient_agreement")),
        settings=tuple(_settings(run.config)),
        digests=tuple(_digests(evaluated)),
        reproduction=describe_reproduction(evaluated),
        inspector=build_inspector(run.config, manifest, layers, mixed),
    )


def _confusion(rows: Sequence[Row], names: Sequence[str]) -> Confusion:
    counts = np.zeros((len(names), len(names)), np.int64)
    for row in rows:
        counts[row["label"], row["predicted"]] = row["count"]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cells = tuple(
        tuple(
            # a square root, so that small shares are visible too
            ConfusionCell(int(count), float(share), ceil(NUM_SHADES * sqrt(share)), label == predicted)
            for predicted, (count, share) in enumerate(zip(*row, strict=True))
        )
        for label, row in enumerate(zip(counts, shares, strict=True))
    )
    wrong = counts * (1 - np.eye(len(names), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MAX_PAIRS]
    positions = [divmod(int(flat), len(names)) for flat in order if wrong.flat[flat]]
    pairs = tuple(ConfusedPair(names[i], names[j], int(counts[i, j]), float(shares[i, j])) for i, j in positions)
    return Confusion(cells if len(names) <= MAX_MATRIX_CLASSES else (), pairs)


def _with_interval(row: Row) -> Row:
    """Add the 95 % Wilson interval of the recall; without examples it is 0 to 1."""
    if not row["support"]:
        return row | {"recall_low": 0.0, "recall_high": 1.0}
    interval = wilson(round(row["recall"] * row["support"]), row["support"])
    return row | {"recall_low": interval.low, "recall_high": interval.high}


def _shown_mistake(example: ShownExample, names: Sequence[str]) -> ShownMistake:
    largest = np.argsort(-example.outputs, kind="stable")[:NUM_OUTPUTS].tolist()
    labels = largest if example.label in largest else [*largest, example.label]
    return ShownMistake(
        name=example.name,
        picture=grey_tile(example.image),
        label=names[example.label],
        predicted=names[example.predicted],
        outputs=tuple((names[label], float(example.outputs[label])) for label in labels),
    )


def _first_layer_units(layers: Layers, manifest: Manifest) -> FirstLayerUnits:
    weights = layers[0].weights
    # a quantile, because at the scale of the few largest weights all others would be pale
    largest = float(np.quantile(np.abs(weights), 0.995)) or 1.0
    images = weights[:MAX_UNITS].reshape(-1, manifest.height, manifest.width)
    return FirstLayerUnits(tuple(diverging_tile(image, largest) for image in images), len(weights), largest)


def _slice_tables(rows: Sequence[Row]) -> Iterator[SliceTable]:
    """Yield the slices of each slicing; of more than MAX_SLICES those with the lowest accuracy."""
    for name, group in groupby(rows, key=itemgetter("slicing")):
        slices = sorted(group, key=itemgetter("position"))
        if len(slices) > MAX_SLICES:
            slices.sort(key=itemgetter("accuracy"))
        title = SLICING_TITLES.get(name, f"By {name}")
        yield SliceTable(title, tuple(slices[:MAX_SLICES]), len(slices[MAX_SLICES:]))


def _settings(config: TrainingConfig) -> Iterator[tuple[str, str]]:
    for name, value in config.model_dump(mode="json", exclude_none=True).items():
        yield name, value if isinstance(value, str) else json.dumps(value)


def _digests(evaluated: EvaluatedRun) -> Iterator[tuple[str, str]]:
    run = evaluated.run
    yield f"parameters of the model ({run.parameters.name})", run.parameters.sha256
    yield f"manifest of the data set ({run.dataset_id})", run.dataset_digest
    yield "configuration", run.config.digest
    for source in evaluated.dataset.manifest.sources:
        yield f"source {source.name}, decompressed", source.sha256
