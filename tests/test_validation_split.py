"""The validation split from the source to every table and page; training never reads it."""

from pathlib import Path

import duckdb
import numpy as np
import pytest

import backbeam
from model.checkpoint import decode_parameters
from pipeline.context import StageContext, StageLog
from pipeline.maintenance.rebuild import largest_difference, rebuild_dataset
from pipeline.preprocess.dataset import check_dataset, load_dataset
from pipeline.preprocess.shards import read_split
from pipeline.preprocess.stage import DatasetConfig, preprocess_stage
from pipeline.storage.places import place_of
from pipeline.storage.tables import EVALUATION_TABLES
from pipeline.train.split_reader import copy_shards_locally
from tests.helpers import Digits, contents, run_in_process
from tests.pictures import write_tree
from tests.three_splits import digits_of, write_splits

THREE = {"train": "train", "test": "t10k", "validation": "validation"}
TWO = {"train": "train", "test": "t10k"}
SIZES = {"train": 60, "test": 20, "validation": 15}
SMALL = ("--layers", "20,6,3", "--num-steps", 20)


def write_digits(folder: Path, words: dict[str, str] = THREE) -> Path:
    """Write IDX files whose third validation image is the sixth one of train."""
    write_splits(folder, "idx", words)
    if "validation" in words:
        header = 16
        images = bytearray((folder / "validation-images-idx3-ubyte").read_bytes())
        train = (folder / "train-images-idx3-ubyte").read_bytes()
        images[header + 2 * 20 : header + 3 * 20] = train[header + 5 * 20 : header + 6 * 20]
        (folder / "validation-images-idx3-ubyte").write_bytes(images)
    return folder


def lax(folder: Path) -> tuple[object, ...]:
    """Return the options that let an image of train be in another split, with a warning."""
    config = folder / "lax.toml"
    config.write_text("[validation.test_in_train]\nthreshold = 0.2\nwarning_threshold = 0.0\n")
    return ("--config", config)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A workspace with a run on three splits, and what the command printed."""
    folder = tmp_path_factory.mktemp("three")
    source = write_digits(folder / "digits")
    done = run_in_process("run", "--workspace", folder / "ws", "--dataset", source, *lax(folder), *SMALL, "--json")
    assert done.code == 0, done.err
    return folder, done


def query(workspace, sql, table):
    return duckdb.sql(sql.format(f"'{workspace}/reports/{table}/*/*.parquet'")).fetchall()


def test_data_set_has_three_splits_and_the_shards_of_the_other_two_are_as_without_it(made, tmp_path):
    folder, _ = made
    [three] = (folder / "ws" / "datasets").iterdir()
    assert {name: split.num_examples for name, split in load_dataset(three).manifest.splits.items()} == SIZES
    done = run_in_process("preprocess", "--workspace", tmp_path / "ws", write_digits(tmp_path / "digits", TWO))
    assert done.code == 0, done.err
    [two] = (tmp_path / "ws" / "datasets").iterdir()
    shards = {name: data for name, data in contents(two).items() if name.endswith(".tfrecord")}
    assert len(shards) == 2
    assert shards.items() <= contents(three).items()


def test_validation_finds_validation_images_that_train_has(made):
    folder, done = made
    assert "test_in_train, split validation: 0.06667 (1 examples)" in " ".join(done.err.split())
    sql = "SELECT indices, twin_indices FROM {} WHERE \"check\" = 'test_in_train' AND split = 'validation'"
    assert query(folder / "ws", sql, "validation") == [([2], [5])]


def test_every_table_of_an_evaluation_has_rows_of_validation(made):
    workspace = made[0] / "ws"
    for table in EVALUATION_TABLES:
        if table != "weights":
            found = query(workspace, "SELECT split, count(*) FROM {} GROUP BY split", table)
            assert dict(found).keys() == SIZES.keys(), table
    sizes = "SELECT split, num_examples FROM {}"
    assert dict(query(workspace, sizes, "evaluations")) == SIZES
    [[num_correct]] = query(workspace, "SELECT num_correct FROM {} WHERE split = 'validation'", "evaluations")
    right = "SELECT count(*) FROM {} WHERE split = 'validation' AND label = predicted"
    assert query(workspace, right, "predictions") == [(num_correct,)]


def test_commands_pages_and_functions_show_it(made, tmp_path):
    workspace = made[0] / "ws"
    shown = run_in_process("show", "--workspace", workspace, "--json")
    assert {row["split"]: row["num_examples"] for row in shown.json["evaluation"]} == SIZES
    assert "\nvalidation " in run_in_process("show", "--workspace", workspace).out
    inspected = run_in_process("inspect", "--workspace", workspace, "--split", "validation", "--to", tmp_path, "--json")
    assert inspected.json["splits"]["validation"]["num_examples"] == 15
    run_in_process("report", "--workspace", workspace, "--to", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "validation examples right" in page
    assert '<th scope="row">validation</th><td>15</td>' in page
    dataset = backbeam.open_workspace(workspace).dataset()
    images, labels = dataset.to_numpy("validation")
    expected, expected_labels = digits_of("validation")
    assert np.flatnonzero((images != expected).any(axis=(1, 2))).tolist() == [2]
    assert np.array_equal(labels, expected_labels)
    assert len(list(dataset.to_tf("validation").as_numpy_iterator())) == 15


def test_trained_parameters_are_those_of_the_data_set_without_it(made, tmp_path):
    source = write_digits(tmp_path / "digits", TWO)
    done = run_in_process("run", "--workspace", tmp_path / "ws", "--dataset", source, *SMALL, "--json")
    assert done.code == 0, done.err
    files = [next(workspace.glob("runs/*/parameters.safetensors")) for workspace in (made[0] / "ws", tmp_path / "ws")]
    with_it, without = (decode_parameters(file.read_bytes()) for file in files)
    assert largest_difference(with_it, without) == 0
    assert done.json["test"] == made[1].json["test"]
    curves = [
        query(ws, "SELECT step, num_correct, loss FROM {}", "learning_curve")
        for ws in (made[0] / "ws", tmp_path / "ws")
    ]
    assert repr(curves[0]) == repr(curves[1])


def test_training_copies_no_shard_of_it_from_a_store(made, memory, tmp_path, monkeypatch):
    monkeypatch.setenv("BACKBEAM_CACHE_DIR", str(tmp_path / "cache"))
    [folder] = (made[0] / "ws" / "datasets").iterdir()
    memory.update({f"memory://b/ws/datasets/{folder.name}/{name}": data for name, data in contents(folder).items()})
    workspace = place_of("memory://b/ws")
    copies = copy_shards_locally(workspace / "datasets" / folder.name, load_dataset(folder).manifest, workspace)
    assert sorted(path.name.split("-")[0] for path in copies.iterdir()) == ["test", "train"]


def test_earlier_data_set_without_it_is_still_made_again_from_its_source(tmp_path):
    """An earlier version left out the validation split, and recorded no such choice."""
    source = write_digits(tmp_path / "digits")
    config = DatasetConfig((str(source),), splits=("train", "test"))
    earlier = preprocess_stage(StageContext(tmp_path / "ws", ()), config, StageLog())
    assert list(earlier.manifest.splits) == ["test", "train"]
    rebuilt = rebuild_dataset(tmp_path / "ws", earlier.folder.name, tmp_path / "scratch")
    assert rebuilt.digest == earlier.digest


@pytest.mark.thorough
def test_parts_without_it_add_nothing_to_it(tmp_path):
    sources = [write_tree(tmp_path / "two", Digits(seed=1)), write_digits(tmp_path / "three")]
    workspace = tmp_path / "ws"
    named = [argument for source in sources for argument in ("--dataset", source)]
    done = run_in_process("preprocess", "--workspace", workspace, *named, *lax(tmp_path), "--json")
    assert done.code == 0, done.err
    assert done.json["num_examples"] == {"train": 120, "test": 40, "validation": 15}
    joint = check_dataset(workspace / "datasets" / done.json["dataset_id"])
    assert [part.num_source for part in joint.manifest.parts] == [SIZES | {"validation": 0}, SIZES]
    assert read_split(joint.folder, joint.manifest, "validation").indices.tolist() == list(range(15))
    both = run_in_process("run", "--workspace", workspace, *named, *lax(tmp_path), *SMALL, "--json")
    assert both.code == 0, both.err
    parts = query(workspace, "SELECT part, count(*) FROM {} WHERE split = 'validation' GROUP BY part", "predictions")
    assert parts == [(done.json["parts"][1], 15)]
