"""The columns of every table: Arrow types, units and meanings. docs/tables.md is generated from this file.

Every table of a run begins with the columns of `ORIGIN`. A change of a column's meaning needs a new SCHEMA_VERSION.
"""

from typing import NamedTuple

import pyarrow as pa

SCHEMA_VERSION = 2

# The texts below are stored in every Parquet file, so a changed word changes the bytes and digests of new tables.
_TEXT = pa.string()
_WHOLE = pa.int64()
_REAL = pa.float64()
_SINGLE = pa.float32()


class Column(NamedTuple):
    """The description of a column."""

    kind: pa.DataType
    meaning: str  # in half a sentence
    unit: str = ""  # of its numbers; empty for text
    nullable: bool = False


class Table(NamedTuple):
    """The description of a table: what a row describes, and the columns in order."""

    row: str
    columns: dict[str, Column]


ORIGIN = {
    "run_id": Column(_TEXT, "the run; of seeds, the group of runs"),
    "dataset_digest": Column(_TEXT, "SHA-256 of the data set's manifest, in hexadecimal"),
    "model_digest": Column(_TEXT, "SHA-256 of the file of the parameters, in hexadecimal; of seeds, of all digests"),
    "schema_version": Column(pa.int32(), "the version of these schemas"),
}

_SPLIT = Column(_TEXT, "the split: train or test")
_NUM_EXAMPLES = Column(_WHOLE, "all of them", "examples")
_NUM_CORRECT = Column(_WHOLE, "those whose largest output is that of their label", "examples")
_QUALITY = {
    "num_examples": _NUM_EXAMPLES,
    "num_correct": _NUM_CORRECT,
    "accuracy": Column(_REAL, "num_correct / num_examples", "share, 0 to 1"),
    "accuracy_low": Column(_REAL, "lower end of the 95 % Wilson interval of the accuracy", "share, 0 to 1"),
    "accuracy_high": Column(_REAL, "upper end of it", "share, 0 to 1"),
    "loss": Column(_REAL, "mean loss of an example, by the loss that the run was trained with", "loss"),
}
_LABEL = Column(_WHOLE, "the class that is right", "class number")
_STEP = Column(_WHOLE, "updates done", "steps")

# The tables of a run, in the order of the documentation.
TABLES = {
    "evaluations": Table(
        "a split",
        {
            "split": _SPLIT,
            **_QUALITY,
            "ece": Column(
                _REAL,
                "expected calibration error: the distance of confidence from accuracy in the bins of calibration, "
                "weighted by their examples",
                "share, 0 to 1",
            ),
            "brier": Column(
                _REAL,
                "mean over examples of the squared differences between outputs and the one-hot target, summed over "
                "classes",
                "squared share, 0 to the number of classes",
            ),
            "first_1000_examples": Column(_WHOLE, "those among the first 1,000 of the source", "examples"),
            "first_1000_correct": Column(_WHOLE, "of these, those that are right", "examples"),
            "never_predicted": Column(
                pa.list_(_TEXT), "names of classes that no answer names though the split has examples of them"
            ),
        },
    ),
    "classes": Table(
        "a class of a split",
        {
            "split": _SPLIT,
            "label": _LABEL,
            "class_name": Column(_TEXT, "its name"),
            "precision": Column(
                _REAL, "of the answers that name it, those that are right; 0 without any", "share, 0 to 1"
            ),
            "recall": Column(_REAL, "of its examples, those that are right; 0 without any", "share, 0 to 1"),
            "f1": Column(_REAL, "harmonic mean of precision and recall; 0 without a base", "share, 0 to 1"),
            "support": Column(_WHOLE, "its examples", "examples"),
            "num_predicted": Column(_WHOLE, "answers that name it", "examples"),
        },
    ),
    "confusion": Table(
        "a pair of classes of a split, pairs without examples included",
        {
            "split": _SPLIT,
            "label": _LABEL,
            "predicted": Column(_WHOLE, "the class of the largest output", "class number"),
            "count": Column(_WHOLE, "examples of label that were answered predicted", "examples"),
        },
    ),
    "slices": Table(
        "a slice of a split's examples; slices without examples have none",
        {
            "split": _SPLIT,
            "slicing": Column(_TEXT, "how examples are told apart: class, ink, confidence, part, or one of the user's"),
            "position": Column(_WHOLE, "the slice's place among those of its slicing", "place"),
            "slice": Column(_TEXT, "its name"),
            **_QUALITY,
        },
    ),
    "calibration": Table(
        "a bin of confidence of a split, those without examples included",
        {
            "split": _SPLIT,
            "bin": Column(_WHOLE, "the bin, 0 to 9", "place"),
            "confidence_low": Column(_REAL, "lower edge; only the first bin holds its own", "output, 0 to 1"),
            "confidence_high": Column(_REAL, "upper edge, which the bin holds", "output, 0 to 1"),
            "num_examples": _NUM_EXAMPLES,
            "num_correct": _NUM_CORRECT,
            "confidence": Column(_REAL, "mean of the examples' largest outputs; 0 without examples", "output, 0 to 1"),
            "accuracy": Column(_REAL, "num_correct / num_examples; 0 without examples", "share, 0 to 1"),
        },
    ),
    "weights": Table(
        "a parameter of a layer",
        {
            "layer": Column(_WHOLE, "the layer, counted from 1", "place"),
            "parameter": Column(_TEXT, "weights or biases"),
            "shape": Column(pa.list_(_WHOLE), "outputs and inputs of weights, outputs of biases", "numbers"),
            "num_values": Column(_WHOLE, "all of them", "numbers"),
            "norm": Column(_REAL, "square root of the sum of squares", "parameter"),
            "mean": Column(_REAL, "their mean", "parameter"),
            "std": Column(_REAL, "standard deviation of all the numbers (not of a sample)", "parameter"),
            "smallest": Column(_REAL, "the smallest", "parameter"),
            "largest": Column(_REAL, "the largest", "parameter"),
            "num_units": Column(_WHOLE, "outputs of the layer", "units"),
            "num_dead_units": Column(
                _WHOLE,
                "hidden units whose output differs by less than 0.001 over all examples of the evaluation; 0 in the "
                "last layer",
                "units",
            ),
            "histogram_edges": Column(pa.list_(_REAL), "31 edges of equal widths, smallest to largest", "parameter"),
            "histogram_counts": Column(pa.list_(_WHOLE), "between each two edges", "numbers"),
        },
    ),
    "predictions": Table(
        "an example",
        {
            "split": _SPLIT,
            "part": Column(
                _TEXT, "the data set that its shard is in: a part of a joint data set, or the data set itself"
            ),
            "index": Column(
                _WHOLE, "its place in the source; in a joint data set it counts on from part to part", "place"
            ),
            "label": _LABEL,
            "predicted": Column(_WHOLE, "the class of the largest output, of equal ones the first", "class number"),
            "confidence": Column(_SINGLE, "the largest output", "output, 0 to 1"),
            "probabilities": Column(
                pa.list_(_SINGLE), "the outputs by class; those of a sigmoid layer do not add up to 1", "output, 0 to 1"
            ),
        },
    ),
    "learning_curve": Table(
        "a report of the trainer: at step 0, at every 100, 200, 500 or 1,000 steps, at the last",
        {
            "step": _STEP,
            "examples_seen": Column(_WHOLE, "steps times the batch size", "examples"),
            "loss": Column(_REAL, "mean over the batches since the last report, NaN at step 0", "loss"),
            "num_correct": Column(_WHOLE, "right among the monitored examples", "examples"),
            "num_monitored": Column(_WHOLE, "test examples among the first 1,000 of the source", "examples"),
            "seconds": Column(_REAL, "since training began, compilation included", "seconds"),
        },
    ),
    "gradient_agreement": Table(
        "of a run in lockstep (--step compare), a chunk of steps; of every other run, the end of training",
        {
            "step": _STEP,
            "largest_difference": Column(
                _REAL,
                "largest absolute difference of one number after one manual and one autodiff step from the same "
                "parameters: of the chunk's steps, in float32; of other runs, of one step from the trained parameters, "
                "on one train batch, in float64",
                "parameter",
            ),
            "drift": Column(
                _REAL, "the same of the two networks at the chunk's end; only of a run in lockstep", "parameter", True
            ),
            "largest_parameter": Column(
                _REAL, "largest absolute number of the manual network, to compare with", "parameter"
            ),
        },
    ),
    "layer_statistics": Table(
        "a layer at step 0, at up to 100 later points of the learning curve and at the last, for up to 100 examples "
        "of the train split; lists are quantiles: the smallest, 5, 25, 50, 75 and 95 percent, the largest",
        {
            "step": _STEP,
            "layer": Column(_WHOLE, "the layer, counted from 1", "place"),
            "num_examples": Column(_WHOLE, "the first of the first shard of the train split", "examples"),
            "num_units": Column(_WHOLE, "outputs of the layer", "units"),
            "num_dead_units": Column(
                _WHOLE,
                "units whose output is at the lower end for each of the examples: 0 for relu, else within 1 % of the "
                "range from end to end",
                "units",
            ),
            "num_saturated_units": Column(
                _WHOLE,
                "units whose output is within 1 % of an end of its range for 95 % of the examples; 0 for relu",
                "units",
            ),
            "weights": Column(pa.list_(_REAL), "quantiles of the weights", "parameter"),
            "activations": Column(pa.list_(_REAL), "quantiles of the outputs of the units", "output"),
            "gradients": Column(
                pa.list_(_REAL),
                "quantiles of the absolute derivatives of the mean loss of the examples with respect to the weights",
                "loss / parameter",
            ),
        },
    ),
    "seeds": Table(
        "a split, over runs that differ in their seeds; lists go by seed",
        {
            "recipe": Column(_TEXT, "the recipe of all the runs"),
            "split": _SPLIT,
            "seeds": Column(pa.list_(_WHOLE), "the seeds", "seed"),
            "run_ids": Column(pa.list_(_TEXT), "the runs"),
            "accuracies": Column(pa.list_(_REAL), "their accuracies", "share, 0 to 1"),
            "accuracy_median": Column(_REAL, "median of the accuracies", "share, 0 to 1"),
            "accuracy_lowest": Column(_REAL, "the lowest of them", "share, 0 to 1"),
            "accuracy_highest": Column(_REAL, "the highest of them", "share, 0 to 1"),
            "first_1000_correct": Column(pa.list_(_WHOLE), "right among the first 1,000 of the source", "examples"),
            "first_1000_median": Column(_REAL, "median of these", "examples"),
            "never_predicted": Column(
                pa.list_(pa.struct([("seed", _WHOLE), ("class_name", _TEXT)])),
                "seed and class, where a run never answers a class that the split has examples of",
            ),
        },
    ),
}

VALIDATION = Table(
    "a check of a split of a data set",
    {
        "dataset_id": Column(_TEXT, "the data set"),
        "dataset_digest": Column(_TEXT, "SHA-256 of its manifest, in hexadecimal"),
        "baseline_digest": Column(_TEXT, "the same of the data set that it was compared with, if any", nullable=True),
        "schema_version": ORIGIN["schema_version"],
        "check": Column(_TEXT, "the check"),
        "split": _SPLIT,
        "severity": Column(_TEXT, "error, warning or off"),
        "threshold": Column(_REAL, "beyond which it fails", "as value"),
        "warning_threshold": Column(_REAL, "beyond which it warns", "as value"),
        "value": Column(_REAL, "what was found", "as the check says"),
        "passed": Column(pa.bool_(), "whether value is not beyond threshold"),
        "outcome": Column(_TEXT, "passed, warning or error"),
        "num_examples": Column(_WHOLE, "that are concerned", "examples"),
        "indices": Column(pa.list_(_WHOLE), "of the first ten of these, their places in the source", "place"),
        "twin_indices": Column(pa.list_(_WHOLE), "for each, the example that it is like", "place"),
    },
)

ANSWERS = Table(
    "an answer of a run to a test example of a data set that it was not trained on",
    {
        **ORIGIN,
        "part": Column(_TEXT, "the data set, or the part of a joint one, that the example is from"),
        "index": Column(_WHOLE, "its place in the source", "place"),
        "label": _LABEL,
        "predicted": Column(_WHOLE, "the class that the run answers", "class number"),
    },
)

REJECTED = Table(
    "an example that was left out",
    {
        "split": _SPLIT,
        "file": Column(_TEXT, "the source file"),
        "index": Column(_WHOLE, "its place in the source", "place"),
        "reason": Column(_TEXT, "why it was left out"),
    },
)


def arrow_schema(name: str, columns: dict[str, Column]) -> pa.Schema:
    """Return the Arrow schema of all columns of a table; descriptions and units become metadata of the files."""
    fields = [
        pa.field(field, column.kind, column.nullable, {"description": column.meaning, "unit": column.unit})
        for field, column in columns.items()
    ]
    return pa.schema(fields, {"backbeam.table": name, "backbeam.schema_version": str(SCHEMA_VERSION)})
