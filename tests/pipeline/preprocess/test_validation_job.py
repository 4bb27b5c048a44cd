"""The validation as a Beam job flags what the loop in one process flags, and leaves nothing behind."""

import shutil

import numpy as np
import pytest

from model.errors import CorruptArtefact, EngineFailed, StorageFailed
from pipeline.preprocess import stage, validation_job
from pipeline.preprocess.dataset import load_dataset
from pipeline.preprocess.manifest import ShardInfo
from pipeline.preprocess.validation import check_shard, flag_examples
from pipeline.preprocess.validation_checks import add_flagged
from pipeline.preprocess.validation_job import (
    ValidationJob,
    check_shards,
    compare_bucket,
    divide_shards,
    flag_by_workers,
)
from pipeline.sources.catalog import FILE_NAMES
from pipeline.storage.places import RemotePath
from tests.helpers import Digits, contents, images_bytes, labels_bytes, run_in_process, write_files


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """A workspace of two data sets with faults of every kind, in several shards, and of both joined."""
    folder = tmp_path_factory.mktemp("validated")
    places = [write_faulty(folder / name, seed) for seed, name in enumerate(("first", "second"))]
    severities = folder / "warn.toml"
    severities.write_text("".join(f'[validation.{name}]\nseverity = "warning"\n' for name in CHECKS))
    arguments = ("--workspace", folder / "ws", "--config", severities, "--num-shards", 5)
    done = run_in_process("preprocess", *arguments, *places)
    assert done.code == 0, done.err
    return folder / "ws" / "datasets"


CHECKS = ("duplicates", "conflicting_labels", "test_in_train", "constant_images")


def write_faulty(folder, seed):
    train, train_labels = Digits(seed=seed).split(0, 200)
    test, test_labels = Digits(seed=seed).split(1, 50)
    train[20:60] = train[0]
    train[100] = 9
    test[5:20] = train[11]
    parts = (images_bytes(train), labels_bytes(train_labels), images_bytes(test), labels_bytes(test_labels))
    return write_files(folder, dict(zip(FILE_NAMES, parts, strict=True)))


def find(datasets, name):
    [folder] = datasets.glob(f"{name}-{'?' * 12}")
    return load_dataset(folder)


ENGINES = {
    "every bundle twice": ["--direct_runner_bundle_repeat=1"],
    "failed bundles again": ["--runner=BundleBasedDirectRunner"],
    "two workers": ["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
}


@pytest.mark.parametrize("engine", [*list(ENGINES)[:2], pytest.param("two workers", marks=pytest.mark.thorough)])
def test_every_engine_flags_what_one_process_flags(engine, datasets):
    before = contents(datasets)
    for name in ("first", "first-and-second"):
        dataset = find(datasets, name)
        expected = flag_examples(dataset)
        assert {check for (check, _), found in expected.items() if found.num_examples} == set(CHECKS)
        assert flag_by_workers(dataset, ENGINES[engine]) == expected
    assert contents(datasets) == before


def test_workers_that_share_no_disk_carry_the_keys(datasets):
    dataset = find(datasets, "first")
    manifest = dataset.manifest
    job = ValidationJob(dataset.folder, manifest.without_shards(), RemotePath("gs://bucket/scratch"), bits=3)
    flagged = []
    carried = {}
    for task in divide_shards(manifest):
        first, *keys = check_shards(task, job)
        flagged.append(first.value)
        for key, file in keys:
            carried.setdefault(key, []).append(file)
    assert len(carried) == 8
    flagged += [compare_bucket(job, key, files) for key, files in carried.items()]
    assert add_flagged(flagged) == flag_examples(dataset)


@pytest.mark.thorough
def test_a_corrupt_shard_is_the_same_error_as_in_one_process(datasets, tmp_path):
    copy = shutil.copytree(datasets, tmp_path / "datasets")
    dataset = find(copy, "first")
    path = dataset.folder / dataset.manifest.splits["train"].shards[2].name
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    before = contents(copy)
    with pytest.raises(CorruptArtefact) as expected:
        flag_examples(dataset)
    with pytest.raises(CorruptArtefact) as raised:
        flag_by_workers(dataset, ["--direct_running_mode=multi_processing", "--direct_num_workers=2"])
    assert str(raised.value) == str(expected.value)
    assert contents(copy) == before
    assert not list(copy.glob(".scratch-*"))


def test_a_shard_that_cannot_be_read_is_an_error_of_storage(datasets, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error", "a shard")

    monkeypatch.setattr(validation_job, "check_shard", fail)
    with pytest.raises(StorageFailed, match=r"^storage: \[Errno 5\] Input/output error: 'a shard'$"):
        flag_by_workers(find(datasets, "first"), [])
    assert not list(datasets.glob(".scratch-*"))


def test_an_engine_that_runs_nothing_is_an_error(datasets, monkeypatch):
    monkeypatch.setattr(validation_job, "run_pipeline", lambda *arguments: None)
    with pytest.raises(EngineFailed, match=r"wrote no .*result\.json"):
        flag_by_workers(find(datasets, "first"), [])
    assert not list(datasets.glob(".scratch-*"))


def test_shards_are_divided_evenly_into_a_bounded_number_of_tasks(datasets, monkeypatch):
    manifest = find(datasets, "first").manifest
    shards = [(name, shard) for name, split in manifest.splits.items() for shard in split.shards]
    assert divide_shards(manifest) == [(shard,) for shard in shards]
    monkeypatch.setattr(validation_job, "MAX_TASKS", 3)
    tasks = divide_shards(manifest)
    assert [len(task) for task in tasks] == [3, 3, 1]
    assert [shard for task in tasks for shard in task] == shards


def test_a_manifest_without_shards_serves_workers(datasets):
    dataset = find(datasets, "first-and-second")
    small = dataset.manifest.without_shards()
    assert not any(split.shards for split in small.splits.values())
    shard: ShardInfo = dataset.manifest.splits["test"].shards[-1]
    with_shards = check_shard(dataset.folder, dataset.manifest, "test", shard)
    without = check_shard(dataset.folder, small, "test", shard)
    assert without.flagged == with_shards.flagged
    np.testing.assert_array_equal(without.rows, with_shards.rows)


@pytest.mark.parametrize(
    "how",
    [pytest.param(("--workers", 2), marks=pytest.mark.thorough), ("--", "--direct_runner_bundle_repeat=1")],
    ids=str,
)
def test_command_writes_the_same_record_and_table(how, datasets, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(
        validation_job, "flag_by_workers", lambda *args, **more: ran.append(1) or flag_by_workers(*args, **more)
    )
    monkeypatch.setattr(stage, "pays_workers", lambda arguments, num_bytes: True)
    workspace = shutil.copytree(datasets.parent, tmp_path / "ws")
    expected = contents(workspace)
    [record] = workspace.glob("datasets/first-and-second-*/validation.json")
    record.unlink()
    shutil.rmtree(workspace / "reports" / "validation" / f"dataset={record.parent.name}")
    config = datasets.parent.parent / "warn.toml"
    done = run_in_process("validate", record.parent.name, "--workspace", workspace, "--config", config, "--json", *how)
    assert (done.code, done.json["skipped"], ran) == (0, [], [1]), done.err
    found = contents(workspace)
    assert {name: data for name, data in found.items() if not name.startswith(".lock")} == {
        name: data for name, data in expected.items() if not name.startswith(".lock")
    }
