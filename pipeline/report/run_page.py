"""What the page of one run shows, as plain records that a template draws. Pictures are data URIs, charts geometry."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from math import ceil, sqrt
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from pipeline.evaluate.metrics import wilson
from pipeline.evaluate.results import EvaluatedRun, Row
from pipeline.preprocess.manifest import Manifest
from pipeline.report.backprop_inspector import InspectorData, build_inspector
from pipeline.report.charts import Axis, Chart, Series, line_chart, spanning, with_diagonal, with_whiskers
from pipeline.report.example_selection import (
    ANSWERS,
    ShownExample,
    mistakes,
    mix_right_and_wrong,
    read_answers,
    read_examples,
)
from pipeline.report.inspect import class_title, statistics
from pipeline.report.parameters import Layers, read_layers
from pipeline.report.reproduce_command import ReproduceCommand, describe_reproduction
from pipeline.report.thumbnails import diverging_tile, grey_tile

SPLIT = "test"
MOST_MATRIX_CLASSES = 30  # a matrix of more is no picture any more; the most frequent mistakes are listed instead
MOST_PAIRS = 40
MOST_UNITS = 64
MOST_SLICES = 40  # of one slicing
SHOWN_OUTPUTS = 2  # of a mistake
HEATS = 10  # shades of a cell
SAID_OF_SLICINGS = {
    "class": "By class",
    "ink": "By ink: the mean of the pixels, 0 to 255",
    "confidence": "By confidence: the largest output",
    "part": "By the data set that the example is from",
}


class ConfusionCell(NamedTuple):
    """A cell of the confusion matrix.

    Attributes:
        num_examples: how many.
        share: of the row's class, 0 to 1.
        heat: its shade, 0 to HEATS.
        right: whether it is on the diagonal.
    """

    num_examples: int
    share: float
    heat: int
    right: bool


class ConfusedPair(NamedTuple):
    """How often one class was taken for another."""

    label: str
    predicted: str
    num_examples: int
    share: float


class Confusion(NamedTuple):
    """The confusion of a split's classes.

    Attributes:
        rows: the cells of each class's row; none if there are too many classes.
        pairs: the most frequent mistakes.
    """

    rows: tuple[tuple[ConfusionCell, ...], ...]
    pairs: tuple[ConfusedPair, ...]


class ShownMistake(NamedTuple):
    """A wrong answer with its picture.

    Attributes:
        name: such as test:17.
        picture: a data URI.
        label: the right class.
        predicted: the class that was answered.
        outputs: (class, output) of the largest ones and of the right one, the largest first.
    """

    name: str
    picture: str
    label: str
    predicted: str
    outputs: tuple[tuple[str, float], ...]


class FirstLayerUnits(NamedTuple):
    """First-layer weights as pictures.

    Attributes:
        pictures: a data URI for each hidden unit that is shown.
        num_units: how many there are.
        largest: the absolute value that has the full colour.
    """

    pictures: tuple[str, ...]
    num_units: int
    largest: float


class SliceTable(NamedTuple):
    """A split cut into slices in one way.

    Attributes:
        title: what it goes by.
        rows: of the table `slices`.
        num_left_out: further slices, which the table has.
    """

    title: str
    rows: tuple[Row, ...]
    num_left_out: int


class LearningCurve(NamedTuple):
    """A learning curve.

    Attributes:
        charts: of the loss and of the right answers.
        rows: of the table `learning_curve`.
    """

    charts: tuple[Chart, ...]
    rows: tuple[Row, ...]


class AgreementCurve(NamedTuple):
    """How the manual and the autodiff step agree.

    Attributes:
        rows: of the table `gradient_agreement`.
        in_lockstep: whether the run was trained by both side by side.
        chart: of the drift of the two networks, if there is more than one value of it.
    """

    rows: tuple[Row, ...]
    in_lockstep: bool
    chart: Chart | None


class RunPage(NamedTuple):
    """The page of a run; see each field's record."""

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


def gather(found: EvaluatedRun) -> RunPage:
    """Gather what the page of a run shows.

    Raises:
        CorruptArtefact: a table, the parameters or a shard is not what its record says.
    """
    run, manifest = found.run, found.dataset.manifest
    names = tuple(class_title(label, manifest.class_names) for label in range(len(manifest.class_names)))
    layers = read_layers(run.parameters.read(found.folder))
    answers = read_answers(found.table("predictions", ANSWERS), SPLIT)
    chosen = mistakes(answers), mix_right_and_wrong(answers, manifest.num_pixels)
    worst, mixed = read_examples(found.dataset, answers, *chosen)
    results, bins = found.rows("evaluations"), tuple(found.rows("calibration", SPLIT))
    return RunPage(
        run=run,
        manifest=manifest,
        class_names=names,
        test=next(row for row in results if row["split"] == SPLIT),
        others=tuple(row for row in results if row["split"] != SPLIT),
        curve=learning_curve([(run.run_id, found.rows("learning_curve"))]),
        confusion=confusion(found.rows("confusion", SPLIT), names),
        classes=tuple(map(_with_interval, found.rows("classes", SPLIT))),
        calibration=calibration_chart(bins),
        bins=bins,
        mistakes=tuple(_mistake(specimen, names) for specimen in worst),
        num_mistakes=int((answers.labels != answers.predicted).sum()),
        units=first_layer(layers, manifest),
        weights=tuple(found.rows("weights")),
        slicings=tuple(slicings(found.rows("slices", SPLIT))),
        data=statistics(manifest),
        agreement=agreement(found.rows("gradient_agreement")),
        settings=tuple(
            (name, _written(value)) for name, value in run.config.model_dump(mode="json", exclude_none=True).items()
        ),
        digests=tuple(_digests(found)),
        reproduction=describe_reproduction(found),
        inspector=build_inspector(run.config, manifest, layers, mixed),
    )


def learning_curve(curves: Sequence[tuple[str, Sequence[Row]]]) -> LearningCurve:
    """Lay out the learning curves of one run or of several, each with its name."""
    every = [row for _, rows in curves for row in rows]
    steps = spanning("steps", [row["step"] for row in every], low=0)
    loss = spanning("mean loss since the last report", [row["loss"] for row in every], low=0)
    first = f"right of the first {every[0]['num_monitored']:,}" if every else ""
    right = Axis(first, 0, 1, percent=True)
    names = [name if len(curves) > 1 else "" for name, _ in curves]
    by_step = [(name, [row["step"] for row in rows], rows) for name, (_, rows) in zip(names, curves, strict=True)]
    losses = [Series(name, at, [row["loss"] for row in rows]) for name, at, rows in by_step]
    shares = [Series(name, at, [_share_right(row) for row in rows]) for name, at, rows in by_step]
    charts = (
        line_chart("Loss while training", steps, loss, losses),
        line_chart("Right answers to test examples while training", steps, right, shares),
    )
    return LearningCurve(charts, tuple(every) if len(curves) == 1 else ())


def confusion(rows: Sequence[Row], names: Sequence[str]) -> Confusion:
    """Turn the rows of the table `confusion` into cells and the most frequent mistakes."""
    counts = np.zeros((len(names), len(names)), np.int64)
    for row in rows:
        counts[row["label"], row["predicted"]] = row["count"]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cells = tuple(
        tuple(
            ConfusionCell(int(count), float(share), ceil(HEATS * sqrt(share)), label == predicted)
            for predicted, (count, share) in enumerate(zip(*pair, strict=True))
        )
        for label, pair in enumerate(zip(counts, shares, strict=True))
    )
    wrong = counts * (1 - np.eye(len(names), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    places = [divmod(int(place), len(names)) for place in order if wrong.flat[place]]
    pairs = tuple(ConfusedPair(names[i], names[j], int(counts[i, j]), float(shares[i, j])) for i, j in places)
    return Confusion(cells if len(names) <= MOST_MATRIX_CLASSES else (), pairs)


def calibration_chart(bins: Sequence[Row]) -> Chart:
    """Lay out how often answers of each confidence are right, with 95 % Wilson intervals."""
    known = [row for row in bins if row["num_examples"]]
    axes = Axis("confidence", 0, 1, percent=True), Axis("right answers", 0, 1, percent=True)
    points = Series("", [row["confidence"] for row in known], [row["accuracy"] for row in known])
    chart = with_diagonal(line_chart("Right answers by confidence", *axes, [points]))
    intervals = [wilson(row["num_correct"], row["num_examples"]) for row in known]
    return with_whiskers(
        chart, [(row["confidence"], each.low, each.high) for row, each in zip(known, intervals, strict=True)]
    )


def first_layer(layers: Layers, manifest: Manifest) -> FirstLayerUnits:
    """Show the weights of the first layer's units, each as an image of the data set's size."""
    weights = layers[0].weights
    shown = weights[:MOST_UNITS]
    largest = float(np.quantile(np.abs(weights), 0.995)) or 1.0  # a few extremes would leave all else pale
    images = shown.reshape(-1, manifest.height, manifest.width)
    return FirstLayerUnits(tuple(diverging_tile(image, largest) for image in images), len(weights), largest)


def slicings(rows: Sequence[Row]) -> Iterator[SliceTable]:
    """Group the rows of the table `slices`, and cut long groups short, the weakest slices first."""
    for name, group in groupby(rows, key=itemgetter("slicing")):
        found = sorted(group, key=itemgetter("position"))
        if len(found) > MOST_SLICES:
            found.sort(key=itemgetter("accuracy"))
        yield SliceTable(SAID_OF_SLICINGS.get(name, f"By {name}"), tuple(found[:MOST_SLICES]), len(found[MOST_SLICES:]))


def agreement(rows: Sequence[Row]) -> AgreementCurve:
    """Lay out the agreement of the two steps: a chart if they went side by side, the last rows in any case."""
    drifts = [row for row in rows if row["drift"] is not None]
    chart = None
    if len(drifts) > 1:
        steps = spanning("steps", [row["step"] for row in drifts], low=0)
        drift = spanning("largest difference of a parameter", [row["drift"] for row in drifts], low=0)
        line = Series("", [row["step"] for row in drifts], [row["drift"] for row in drifts])
        chart = line_chart(
            "Drift of the network trained by autodiff from the one trained by hand", steps, drift, [line]
        )
    return AgreementCurve(tuple(rows), bool(drifts), chart)


def _share_right(row: Row) -> float:
    return float(row["num_correct"] / row["num_monitored"]) if row["num_monitored"] else float("nan")


def _with_interval(row: Row) -> Row:
    """Add the interval of the recall, which is a share of the class's examples."""
    if not row["support"]:
        return row | {"recall_low": 0.0, "recall_high": 1.0}
    interval = wilson(round(row["recall"] * row["support"]), row["support"])
    return row | {"recall_low": interval.low, "recall_high": interval.high}


def _mistake(specimen: ShownExample, names: Sequence[str]) -> ShownMistake:
    order = np.argsort(-specimen.outputs, kind="stable")[:SHOWN_OUTPUTS].tolist()
    shown = order if specimen.label in order else [*order, specimen.label]
    outputs = tuple((names[label], float(specimen.outputs[label])) for label in shown)
    picture = grey_tile(specimen.image)
    return ShownMistake(specimen.name, picture, names[specimen.label], names[specimen.predicted], outputs)


def _digests(found: EvaluatedRun) -> Iterator[tuple[str, str]]:
    run = found.run
    yield f"parameters of the model ({run.parameters.name})", run.parameters.sha256
    yield f"manifest of the data set ({run.dataset_id})", run.dataset_digest
    yield "configuration", run.config.digest
    for source in found.dataset.manifest.sources:
        yield f"source {source.name}, decompressed", source.sha256


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
