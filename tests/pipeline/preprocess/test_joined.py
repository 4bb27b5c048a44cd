"""Joint data sets of several sources, built by the command."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from model.errors import BadInput, BadUsage, CorruptArtefact
from pipeline.preprocess import joined
from pipeline.preprocess import manifest as manifests
from pipeline.preprocess.dataset import check_dataset, load_dataset
from pipeline.preprocess.joined import JoinedPart, join_manifests
from pipeline.preprocess.manifest import commit_manifest
from pipeline.train.split_reader import read_first_examples
from tests.damage import damage
from tests.helpers import Digits, contents, run_in_process
from tests.pictures import write_rows, write_tree
from tests.pipeline.preprocess.test_beam_job import damage_json

LAYERS = ["--layers", "20,6,3", "--num-steps", "20"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    write_rows(folder / "second", Digits(seed=1, num_train=30, num_test=10))
    write_tree(folder / "third", Digits(seed=2, num_train=12, num_test=6))
    Digits().write(folder / "first")
    return folder


def preprocess(workspace, sources, *names):
    datasets = [argument for name in names for argument in ("--dataset", sources / name)]
    return run_in_process("preprocess", "--workspace", workspace, "--json", *datasets)


@pytest.fixture(scope="module")
def first(sources, tmp_path_factory):
    workspace = tmp_path_factory.mktemp("joint") / "ws"
    done = preprocess(workspace, sources, "first", "second")
    assert done.code == 0, done.err
    return workspace, done.json


@pytest.fixture
def workspace(first, tmp_path):
    return shutil.copytree(first[0], tmp_path / "ws")


def joint_folder(workspace, first):
    return workspace / "datasets" / first[1]["dataset_id"]


def test_joint_data_set_has_only_a_manifest_and_a_validation(first):
    workspace, result = first
    folder = joint_folder(workspace, first)
    assert list(contents(folder)) == ["manifest.json", "validation.json"]
    manifest = check_dataset(folder).manifest
    assert (manifest.name, result["num_examples"]) == ("first-and-second", {"train": 90, "test": 30})
    assert [part.dataset_id for part in manifest.parts] == result["parts"]
    monitored = read_first_examples(folder, manifest, "test")
    assert monitored.indices.tolist() == list(range(30))
    assert manifest.splits["test"].pixel_mean == pytest.approx(monitored.images.mean())
    parts = (Digits().split(1, 20), Digits(seed=1).split(1, 10))
    assert (monitored.images == np.concatenate([images.reshape(-1, 20) for images, _ in parts])).all()
    assert (monitored.labels == np.concatenate([labels for _, labels in parts])).all()


def test_adding_a_part_builds_only_that_part(workspace, sources):
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in workspace.rglob("*") if path.is_file()}
    names = ("first", "second", "third")
    done = preprocess(workspace, sources, *names)
    assert done.json["skipped"] == [f"preprocess {sources / name}" for name in names[:2]]
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before} == before
    new = {path.parent.name for path in workspace.rglob("manifest.json") if path not in before}
    assert new == {done.json["parts"][2], done.json["dataset_id"]}
    assert done.json["dataset_id"].startswith("first-and-2-others-")
    skipped = preprocess(workspace, sources, *names).json["skipped"]
    assert skipped == [*(f"preprocess {sources / name}" for name in names), "preprocess", "validate"]


def test_joint_data_set_is_trained_on_and_evaluated_by_part(workspace, first):
    trained = run_in_process("train", "first-and-second", "--workspace", workspace, "--json", *LAYERS)
    assert trained.json["dataset_id"] == first[1]["dataset_id"]
    done = run_in_process("evaluate", "--workspace", workspace)
    assert done.code == 0, done.err
    table = pd.read_parquet(workspace / "reports" / "predictions")
    first_part, second_part = first[1]["parts"]
    assert table.groupby(["part", "split"]).size().to_dict() == {
        (first_part, "train"): 60,
        (first_part, "test"): 20,
        (second_part, "train"): 30,
        (second_part, "test"): 10,
    }
    assert sorted(table[table.split == "train"]["index"]) == list(range(90))


def test_damaged_or_missing_part_is_named(workspace, first):
    part = workspace / "datasets" / first[1]["parts"][1]
    shard = next(part.glob("train-*.tfrecord"))
    damage(shard, "flip a bit")
    arguments = ("train", "first-and-second", "--workspace", workspace, *LAYERS)
    done = run_in_process(*arguments)
    assert (done.code, str(shard) in done.err) == (4, True)
    shutil.rmtree(part)
    done = run_in_process(*arguments)
    assert (done.code, f"{part}, a part of" in done.err) == (4, True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["parts"][0].update(dataset_id="../elsewhere"), "dataset_id"),
        (lambda m: m["parts"][0].update(dataset_digest="0" * 64), "describes"),
        (lambda m: m["splits"]["train"]["shards"][0].update(part=2), "of no part"),
        (lambda m: m["splits"]["train"]["shards"][0].pop("part"), "of no part"),
        (lambda m: m["splits"]["train"]["shards"][0].update(sha256="0" * 64), "lists other shards of train"),
        (lambda m: m["parts"][0].update(num_source={"train": 60}), "of no part"),
    ],
)
def test_invalid_joint_manifest_is_corrupt(change, message, workspace, first):
    folder = joint_folder(workspace, first)
    damage_json(folder / "manifest.json", change)
    with pytest.raises(CorruptArtefact, match=message):
        check_dataset(folder)


def test_incompatible_parts_are_rejected(tmp_path, sources):
    Digits(height=6).write(tmp_path / "taller")
    Digits(num_classes=4).write(tmp_path / "more")
    shutil.copytree(sources / "first", tmp_path / "copy")
    for other, code, message in (
        (tmp_path / "taller", 3, "differ in image size: 5 x 4 and 6 x 4"),
        (tmp_path / "more", 3, "more has classes that the first source has not: 3; the first one has 0, 1, 2"),
        (tmp_path / "copy", 2, "are the same data"),
        (sources / "first", 2, "names a source twice"),
        (tmp_path / "none", 2, "no data set"),
    ):
        done = preprocess(tmp_path / "ws", sources, "first", other)
        assert (done.code, message in done.err) == (code, True), done.err
    written = [json.loads(path.read_bytes()) for path in (tmp_path / "ws").rglob("manifest.json")]
    assert not any(manifest.get("parts") for manifest in written)


def join(first):
    workspace, result = first
    datasets = [load_dataset(workspace / "datasets" / part) for part in result["parts"]]
    return join_manifests([JoinedPart(str(each), each, {"train": 60, "test": 20}) for each in datasets])


def test_too_many_shards_of_all_parts_are_rejected(first, monkeypatch):
    num_train = join(first).config.num_shards
    monkeypatch.setattr(joined, "MAX_SHARDS", num_train)
    join(first)
    monkeypatch.setattr(joined, "MAX_SHARDS", num_train - 1)
    with pytest.raises(BadUsage, match=f"{num_train} train shards together, at most {num_train - 1}: lower --num-sh"):
        join(first)


def test_too_large_manifest_is_rejected(first, tmp_path, monkeypatch):
    manifest = join(first)
    monkeypatch.setattr(manifests, "MAX_RECORD_BYTES", len(manifest.to_json()))
    commit_manifest(tmp_path, manifest)
    monkeypatch.setattr(manifests, "MAX_RECORD_BYTES", len(manifest.to_json()) - 1)
    with pytest.raises(BadInput, match="lower --num-shards"):
        commit_manifest(tmp_path / "other", manifest)
