"""The main job by the real command, and its results by the programs that its users read them with."""

import gzip
import json
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.checkpoint import decode_parameters
from pipeline.sources.catalog import EMBEDDED
from pipeline.storage.schemas import TABLES as DOCUMENTED
from pipeline.storage.tables import EVALUATION_TABLES, SCHEMAS, TRAINING_TABLES
from tests.damage import damage
from tests.helpers import Digits, artefacts, contents, run_in_process

TABLES = EVALUATION_TABLES + TRAINING_TABLES
KEYS = ("split", "index", "label", "predicted", "step", "slicing", "position", "bin", "layer", "parameter")


@pytest.fixture
def workspace(first_run, tmp_path):
    return shutil.copytree(first_run[0], tmp_path / "ws")


def again(workspace, *arguments):
    return run_in_process("run", "--workspace", workspace, "--json", *arguments)


def rows(workspace, table):
    return pd.read_parquet(workspace / "reports" / table)


def test_the_result(first_run):
    workspace, done = first_run
    result = done.json
    test = result["test"]
    assert set(result) == {
        *("run_id", "dataset_id", "recipe", "step", "seed", "agreement", "test", "validation"),
        *("name", "learning_problems"),
        *("finished", "seconds", "skipped", "paths"),
    }
    assert (result["recipe"], result["step"], result["seed"]) == ("article-manual", "manual", 1)
    assert test["num_examples"] == 1000
    assert test["num_correct"] == test["first_1000_correct"] >= 890  # 902 to 918 over five seeds in a trial
    assert test["accuracy_low"] < test["accuracy"] == test["num_correct"] / 1000 < test["accuracy_high"]
    assert set(result["seconds"]) == {"source", "import", "preprocess", "validate", "train", "evaluate"}
    assert result["skipped"] == []
    assert all(Path(place).is_dir() for place in result["paths"].values())
    assert result["paths"]["run"] == str(workspace / "runs" / result["run_id"])
    assert done.out.count("\n") == 1
    assert "step  10000" in done.err
    folders = ("reports/", "datasets/", "runs/", "origins/")
    assert [name for name in contents(workspace) if not name.startswith(folders)] == [".lock"]
    assert not [name for name in contents(workspace) if "tmp" in name or "scratch" in name]


def test_a_second_run_does_nothing_and_says_the_same(first_run, workspace):
    before = contents(workspace)
    done = again(workspace)
    assert done.json["skipped"] == ["preprocess", "validate", "train", "evaluate"]
    assert done.json["test"] == first_run[1].json["test"]
    assert contents(workspace) == before
    text = run_in_process("run", "--workspace", workspace)
    assert f"{done.json['test']['num_correct']} of 1,000 test examples are right" in text.out
    assert text.err.count("already done") == 4


@pytest.mark.thorough
def test_another_run_has_the_same_bytes(first_run, tmp_path):
    done = again(tmp_path / "other")
    assert done.json["run_id"] == first_run[1].json["run_id"]
    assert artefacts(tmp_path / "other") == artefacts(first_run[0])


@pytest.mark.thorough
def test_the_table_of_seeds(tmp_path, digits_folder):
    """A rate so small that a network keeps to its start: some class is never answered, and the table says so."""
    (tmp_path / "run.toml").write_text("[training]\nweights_rate = 1e-9\nbiases_rate = 1e-9\n")
    arguments = ("--dataset", digits_folder, "--num-steps", "10", "--config", tmp_path / "run.toml", "--seeds", "4,1-2")
    result = again(tmp_path / "ws", *arguments).json
    found = rows(tmp_path / "ws", "seeds").set_index("split")
    assert sorted(found.index) == ["test", "train"]
    test, evaluations = found.loc["test"], rows(tmp_path / "ws", "evaluations")
    by_run = evaluations[evaluations["split"] == "test"].set_index("run_id")
    assert list(test["seeds"]) == [4, 1, 2]
    assert list(test["run_ids"]) == [run["run_id"] for run in result["runs"]]
    assert list(test["accuracies"]) == [by_run.loc[name, "accuracy"] for name in test["run_ids"]]
    lowest, median, highest = sorted(test["accuracies"])
    assert (test["accuracy_lowest"], test["accuracy_median"], test["accuracy_highest"]) == (lowest, median, highest)
    confusion = rows(tmp_path / "ws", "confusion").query("split == 'test'")
    answered = confusion.groupby(["run_id", "predicted"])["count"].sum()
    expected = [
        {"seed": seed, "class_name": str(label)}
        for seed, name in zip(test["seeds"], test["run_ids"], strict=True)
        for label in range(3)
        if not answered[name, label]
    ]
    assert list(test["never_predicted"]) == expected != []
    text = run_in_process("run", "--workspace", tmp_path / "ws", *arguments).out
    assert f"seed {expected[0]['seed']} never answers {expected[0]['class_name']}" in text
    (path,) = (tmp_path / "ws" / "reports" / "seeds").rglob("*.parquet")
    pq.write_table(pq.read_table(path).slice(0, 1), path)
    refused = run_in_process("run", "--workspace", tmp_path / "ws", *arguments)
    assert (refused.code, str(path) in refused.err) == (4, True)


@pytest.mark.thorough
def test_both_steps_in_lockstep(tmp_path, digits_folder):
    arguments = ("--dataset", digits_folder, "--num-steps", "1500")
    result = again(tmp_path / "ws", *arguments, "--step", "compare").json
    table = rows(tmp_path / "ws", "gradient_agreement").sort_values("step")
    assert table["step"].tolist() == [*range(100, 1501, 100)]
    assert (table["largest_difference"] < 1e-5).all()
    assert result["agreement"]["largest_difference"] == table["largest_difference"].max()
    assert result["agreement"]["drift"] == table["drift"].iloc[-1] < 1e-2
    assert table["drift"].notna().all()
    alone = again(tmp_path / "ws", *arguments, "--step", "manual").json
    row = rows(tmp_path / "ws", "gradient_agreement").set_index("run_id").loc[alone["run_id"]]
    assert (row["step"], alone["agreement"]) == (1500, None)
    assert row["largest_difference"] < 1e-12 < row["largest_parameter"]
    assert np.isnan(row["drift"])
    text = run_in_process("run", "--workspace", tmp_path / "ws", *arguments, "--step", "compare").out
    assert "one manual step and one autodiff step differ by" in text


@pytest.mark.parametrize("step", ["manual", "compare"])
@pytest.mark.thorough
def test_a_run_that_diverges_is_an_error_and_leaves_nothing(step, tmp_path, digits_folder):
    file = tmp_path / "run.toml"
    settings = (
        'activation = "relu"',
        "weights_rate = 1e9",
        "biases_rate = 1e9",
        "weight_decay = 1e6",
        "num_steps = 300",
    )
    file.write_text("\n".join(["[training]", *settings]))
    done = run_in_process(
        "run", "--workspace", tmp_path / "ws", "--dataset", digits_folder, "--config", file, "--step", step
    )
    assert done.code == 2, done.err
    assert "training with seed 1 diverged" in done.err
    assert "lower weights_rate 1e+09" in done.err
    assert not list(tmp_path.glob("ws/runs/*"))


@pytest.mark.thorough
def test_stage_by_stage_is_the_same_as_at_once(tmp_path, digits_folder):
    steps = ("--num-steps", "50")
    whole = run_in_process("run", "--workspace", tmp_path / "a", "--dataset", digits_folder, *steps, "--json").json
    place = ("--workspace", tmp_path / "b")
    dataset = run_in_process("preprocess", *place, "--dataset", digits_folder, "--json").json
    assert dataset["num_examples"] == {"train": 60, "test": 20}
    trained = run_in_process("train", dataset["dataset_id"][:12], *place, *steps, "--json").json
    evaluated = run_in_process("evaluate", *place, "--json").json
    assert dataset["dataset_id"] == trained["dataset_id"] == whole["dataset_id"]
    assert trained["run_id"] == evaluated["run_id"] == whole["run_id"]
    assert evaluated["test"] == whole["test"]
    assert run_in_process("train", "digits", *place, *steps, "--json").json["skipped"] == ["train"]
    refused = run_in_process("train", "other", *place)
    assert refused.code == 2
    assert dataset["dataset_id"] in refused.err


def test_any_size_and_number_of_classes(tmp_path):
    folder = Digits(num_train=400, num_test=80, height=3, width=11, num_classes=26).write(tmp_path / "letters")
    result = again(tmp_path / "ws", "--dataset", folder, "--num-steps", 3000, "--tensorboard").json
    assert result["test"]["num_correct"] > 60
    confusion = rows(tmp_path / "ws", "confusion")
    assert len(confusion) == 2 * 26 * 26
    data = (Path(result["paths"]["run"]) / "parameters.safetensors").read_bytes()
    assert [layer.weights.shape for layer in decode_parameters(data)] == [(30, 33), (26, 30)]
    assert list(Path(result["paths"]["run"]).glob("tensorboard/events.out.tfevents.*"))


def test_the_predictions_are_those_of_the_saved_parameters(first_run):
    """A forward pass in NumPy, from the safetensors file and the source's own bytes."""
    workspace, done = first_run
    data = (Path(done.json["paths"]["run"]) / "parameters.safetensors").read_bytes()
    stored = gzip.decompress((EMBEDDED / "mnist-5k" / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    a = np.frombuffer(stored, np.uint8).reshape(-1, 784) / 255
    for weights, biases in decode_parameters(data):
        a = 1 / (1 + np.exp(-(a @ weights.T.astype(np.float64) + biases)))
    predictions = rows(workspace, "predictions")
    test = predictions[predictions["split"] == "test"].sort_values("index")
    np.testing.assert_allclose(np.stack(test["probabilities"]), a, atol=1e-4)


@pytest.mark.parametrize("table", TABLES)
def test_every_table_carries_its_origin_zstd_and_checksums(table, first_run):
    workspace, done = first_run
    run = json.loads((Path(done.json["paths"]["run"]) / "run.json").read_bytes())
    for path in (workspace / "reports" / table).rglob("*.parquet"):
        assert path.parent.name == f"run={done.json['run_id']}"
        file = pq.ParquetFile(path, page_checksum_verification=True)
        assert file.schema_arrow.equals(SCHEMAS[table])
        column = file.metadata.row_group(0).column(0)
        assert column.compression == "ZSTD"
        found = file.read().to_pylist()
        assert {(r["run_id"], r["dataset_digest"], r["model_digest"], r["schema_version"]) for r in found} == {
            (run["run_id"], run["dataset_digest"], run["parameters"]["sha256"], 2)
        }
        stored = file.schema_arrow.metadata
        assert (stored[b"backbeam.table"], stored[b"backbeam.schema_version"]) == (table.encode(), b"2")
        for name, column in DOCUMENTED[table].columns.items():
            about = file.schema_arrow.field(name).metadata
            assert (about[b"description"].decode(), about[b"unit"].decode()) == (column.meaning, column.unit)


@pytest.mark.parametrize("table", TABLES)
def test_duckdb_pandas_and_polars_read_every_table(table, first_run):
    place = first_run[0] / "reports" / table
    by_duckdb = duckdb.sql(f"SELECT * FROM '{place}/*/*.parquet'").df()  # noqa: S608
    by_pandas = pd.read_parquet(place)
    by_polars = pl.read_parquet(f"{place}/*/*.parquet").to_pandas()
    columns = SCHEMAS[table].names
    for frame in (by_duckdb, by_pandas, by_polars):
        assert set(columns) <= set(frame.columns)
        assert len(frame) == len(by_pandas) > 0
    scalars = [name for name in columns if not pa.types.is_list(SCHEMAS[table].field(name).type)]
    keys = [name for name in KEYS if name in columns]
    ordered = [frame[scalars].sort_values(keys).reset_index(drop=True) for frame in (by_duckdb, by_pandas, by_polars)]
    for frame in ordered[1:]:
        pd.testing.assert_frame_equal(ordered[0], frame, check_dtype=False)


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("train-*.tfrecord", "flip a bit"),
        ("train-*.tfrecord", "delete"),
        ("manifest.json", "cut a byte"),
        ("parameters.safetensors", "empty"),
        ("predictions/*/*", "extend"),
        ("learning_curve/*/*", "delete"),
    ],
)
def test_a_corrupt_artefact_is_named_and_never_used(kind, how, workspace):
    path = next(workspace.rglob(kind))
    damage(path, how)
    before = contents(workspace)
    done = again(workspace)
    assert done.code == 4, done.err
    assert str(path) in done.err
    assert done.json["error"]["kind"] == "CorruptArtefact"
    assert contents(workspace) == before


@pytest.mark.thorough
def test_canonical_mnist(mnist_folder, tmp_path):
    """The article: 923 of the first 1,000 test digits; trials of its rule over seeds gave 911 to 930."""
    arguments = ("--dataset", "mnist", "--data-dir", mnist_folder)
    result = again(tmp_path / "ws", *arguments).json
    assert result["test"]["num_examples"] == 10_000
    assert result["test"]["first_1000_correct"] >= 905
    assert result["test"]["accuracy"] >= 0.92


@pytest.mark.slow
def test_the_articles_rule_over_five_seeds(mnist_folder, tmp_path):
    arguments = ("--dataset", "mnist", "--data-dir", mnist_folder)
    test = again(tmp_path / "ws", *arguments, "--seeds", "1-5").json["seeds"]["test"]
    assert test["first_1000_median"] >= 915
    assert test["accuracy_median"] >= 0.925
