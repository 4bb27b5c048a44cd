import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from model.errors import BadInput, BadUsage, CorruptArtefact
from pipeline.evaluate.table_reader import read_paired_outcomes, read_rows, sort_by_example
from pipeline.storage.tables import EVALUATION_TABLES, SCHEMAS, TRAINING_TABLES
from pipeline.storage.workspace import table_partition


@pytest.fixture
def workspace(seeds_run, tmp_path):
    return shutil.copytree(seeds_run, tmp_path / "ws")


def run_ids(workspace):
    return sorted(path.name for path in workspace.glob("runs/*"))


@pytest.mark.parametrize("table", EVALUATION_TABLES + TRAINING_TABLES)
def test_rows_equal_those_that_pandas_reads(table, seeds_run):
    name = run_ids(seeds_run)[1]
    found = read_rows(seeds_run, table, name)
    assert found.schema.equals(SCHEMAS[table])
    expected = pd.read_parquet(seeds_run / table_partition(table, name))
    pd.testing.assert_frame_equal(found.to_pandas(), expected, check_dtype=False)


def test_only_requested_columns_are_read(seeds_run):
    found = read_rows(seeds_run, "predictions", run_ids(seeds_run)[0], ["index", "label"])
    assert (found.column_names, len(found)) == (["index", "label"], 80)


@pytest.mark.parametrize("table", ["confusion", "learning_curve"])
@pytest.mark.parametrize("fault", ["changed", "truncated", "missing", "additional"])
def test_files_that_differ_from_the_record_are_corrupt(fault, table, workspace):
    folder = workspace / table_partition(table, run_ids(workspace)[0])
    path = folder / f"{table}.parquet"
    data = path.read_bytes()
    if fault == "missing":
        path.unlink()
    elif fault == "additional":
        path = path.with_name("more.parquet")
        path.write_bytes(data)
    else:
        path.write_bytes(data[:-1] if fault == "truncated" else bytes([*data[:40], data[40] ^ 1, *data[41:]]))
    with pytest.raises(CorruptArtefact, match=str(path)):
        read_rows(workspace, table, run_ids(workspace)[0])


def test_missing_tables_runs_and_evaluations_are_usage_errors(workspace):
    name = run_ids(workspace)[0]
    with pytest.raises(BadUsage, match="no such table of a run: 'seeds'"):
        read_rows(workspace, "seeds", name)
    with pytest.raises(BadUsage, match="no run other"):
        read_rows(workspace, "weights", "other")
    (workspace / "runs" / name / "evaluation.json").unlink()
    with pytest.raises(BadUsage, match=f"`backbeam evaluate {name}` does it"):
        read_rows(workspace, "weights", name)
    assert len(read_rows(workspace, "learning_curve", name)) == 2


def test_outcomes_are_paired_by_example(seeds_run):
    first, second, _ = run_ids(seeds_run)
    for split in ("train", "test"):
        first_correct, second_correct = read_paired_outcomes(seeds_run, first, second, split)
        predictions = pd.read_parquet(seeds_run / "reports" / "predictions").query(f"split == '{split}'")
        right = predictions.assign(right=predictions["label"] == predictions["predicted"])
        table = right.astype({"run": str}).pivot_table(index=["part", "index"], columns="run", values="right")
        np.testing.assert_array_equal(first_correct, table[first].astype(bool))
        np.testing.assert_array_equal(second_correct, table[second].astype(bool))


def test_runs_on_different_examples_are_not_paired(workspace, digits_run):
    first = run_ids(workspace)[0]
    shutil.copytree(digits_run, workspace, dirs_exist_ok=True)
    message = r"not evaluated on the same test examples: 20 of digits-\w+ against 1,000 of mnist-5k-"
    with pytest.raises(BadInput, match=message):
        read_paired_outcomes(workspace, first, run_ids(digits_run)[0], "test")
    with pytest.raises(BadInput, match="have no examples in a split 'validation'"):
        read_paired_outcomes(workspace, first, first, "validation")


def test_rows_are_sorted_by_part_and_index_with_64_bit_offsets():
    part = pa.chunked_array([["b", "a"], ["a"]])
    found = sort_by_example(pa.table({"part": part, "index": [1, 7, 3], "label": [0, 1, 2]}))
    assert found["label"].to_pylist() == [2, 1, 0]
    assert found.schema.field("part").type == pa.large_string()  # a string has offsets of 32 bits
