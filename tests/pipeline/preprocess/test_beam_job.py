import hashlib
import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from model.errors import BadInput, CorruptArtefact, EngineFailed
from model.examples import concatenate, decode
from pipeline.preprocess import beam_job
from pipeline.preprocess.beam_job import preprocess
from pipeline.preprocess.dataset import check_dataset
from pipeline.preprocess.manifest import PreprocessConfig, dataset_id
from pipeline.preprocess.shards import keys_of, shard_of
from pipeline.sources.source_lookup import find_source, scan_source
from pipeline.storage.tables import read_table
from tests.helpers import Digits, contents, labels_bytes


def build(source_folder, parent, num_shards=4, seed=1, max_rejected=0, num_classes=None, beam=()):
    """Preprocess a folder (or a known name) and return the data set's folder."""
    source = find_source(str(source_folder), None, parent)
    scans = scan_source(source, num_classes)
    config = PreprocessConfig(seed=seed, num_shards=num_shards)
    folder = parent / dataset_id(source.name, scans.class_names, config, scans.infos)
    preprocess(scans, source.name, config, folder, max_rejected, list(beam))
    return folder


def read_split(folder, split):
    manifest = check_dataset(folder).manifest
    shards = [decode(shard.read(folder), manifest.num_pixels) for shard in manifest.splits[split].shards]
    return shards, concatenate(shards, manifest.num_pixels)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    parent = tmp_path_factory.mktemp("built")
    return build(Digits().write(parent / "digits"), parent)


@pytest.mark.parametrize("compress", [False, True])
def test_every_example_is_written_unchanged(compress, tmp_path):
    folder = build(Digits().write(tmp_path / "digits", compress), tmp_path)
    for number, (split, total) in enumerate((("train", 60), ("test", 20))):
        images, labels = Digits().split(number, total)
        examples = read_split(folder, split)[1]
        examples = examples.take(np.argsort(examples.indices))
        np.testing.assert_array_equal(examples.indices, np.arange(total))
        np.testing.assert_array_equal(examples.images, images.reshape(total, -1))
        np.testing.assert_array_equal(examples.labels, labels)


def test_examples_are_in_key_order_across_shards(built):
    shards, _ = read_split(built, "train")
    keys = [keys_of(1, "train", shard.indices) for shard in shards]
    assert (np.diff(np.concatenate(keys).astype(object)) > 0).all()
    assert [set(shard_of(keys_of_shard, 4)) for keys_of_shard in keys] == [{0}, {1}, {2}, {3}]


def test_manifest_describes_the_shards(built):
    manifest = check_dataset(built).manifest
    assert (manifest.height, manifest.width, manifest.class_names) == (5, 4, ("0", "1", "2"))
    assert sorted(contents(built)) == sorted(["manifest.json", *(file.name for file in manifest.files())])
    for split in manifest.splits:
        info = manifest.splits[split]
        _, examples = read_split(built, split)
        assert info.num_examples == len(examples.labels)
        assert list(info.class_counts) == np.bincount(examples.labels).tolist()
        assert info.pixel_mean == pytest.approx(examples.images.mean())
        assert info.pixel_std == pytest.approx(examples.images.std())
    assert [shard.name for shard in manifest.splits["train"].shards][1] == "train-00001-of-00004.tfrecord"
    assert len(manifest.splits["test"].shards) == 2


ENGINES = {
    "FnApiRunner, every bundle twice": ["--runner", "FnApiRunner", "--direct_runner_bundle_repeat=1"],
    "BundleBasedDirectRunner": ["--runner=BundleBasedDirectRunner"],
    "multi-processing": ["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
}


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_writes_the_same_bytes(engine, built, digits_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.sources.idx_source.BLOCK_BYTES", 20 * 7)  # many blocks; `built` is of one
    assert contents(build(digits_folder, tmp_path, beam=ENGINES[engine])) == contents(built)


@pytest.mark.thorough  # it takes seconds
def test_memory_holds_one_block(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.sources.idx_source.BLOCK_BYTES", 2**23)
    source = Digits(num_train=22_000, num_test=20, height=28, width=28).write(tmp_path / "digits")  # 3 blocks
    build(source, tmp_path / "warm", num_shards=40)  # imports and caches are not measured
    tracemalloc.start()
    try:
        build(source, tmp_path / "measured", num_shards=40)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.6 * 2**23  # two blocks would be 2 * 2**23


def limit_shards(monkeypatch):
    monkeypatch.setattr(beam_job, "MAX_SHARD_BYTES", 100)


def make_worker_fail(monkeypatch):
    def fail(*_):
        raise RuntimeError("a fault on the worker")

    monkeypatch.setattr(beam_job.shuffle_files, "cut_block", fail)


@pytest.mark.parametrize(
    ("break_job", "error", "message"),
    [
        (limit_shards, BadInput, r"would hold \d+ bytes of pixels, at most 100: raise --num-shards"),
        (make_worker_fail, EngineFailed, "a fault on the worker"),
    ],
)
def test_failed_job_leaves_nothing(break_job, error, message, digits_folder, tmp_path, monkeypatch):
    break_job(monkeypatch)
    with pytest.raises(error, match=message):
        build(digits_folder, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_seed_determines_the_order_and_num_shards_does_not(built, digits_folder, tmp_path):
    folders = [built, *(build(digits_folder, tmp_path, *chosen) for chosen in ((4, 2), (3, 1)))]
    assert len({folder.name for folder in folders}) == 3
    orders = [tuple(read_split(folder, "train")[1].indices) for folder in folders]
    assert orders[1] != orders[0] == orders[2]


def test_more_shards_than_examples_give_empty_shards(tmp_path):
    folder = build(Digits(num_train=6, num_test=3).write(tmp_path / "few"), tmp_path, num_shards=30)
    shards, examples = read_split(folder, "train")
    assert (len(shards), len(examples.labels)) == (30, 6)


@pytest.fixture
def with_bad_labels(digits_folder):
    labels = np.arange(60) % 3
    labels[[5, 40]] = (9, 3)
    (digits_folder / "train-labels-idx1-ubyte").write_bytes(labels_bytes(labels))
    return digits_folder


def test_too_many_rejected_examples_are_named_and_nothing_is_left(with_bad_labels, tmp_path):
    with pytest.raises(BadInput, match="more than 1 examples are rejected") as raised:
        build(with_bad_labels, tmp_path / "out", num_classes=3, max_rejected=1)
    assert "train-labels-idx1-ubyte (split train), example 5: label 9 is not below 3" in str(raised.value)
    assert "example 40: label 3 is not below 3" in str(raised.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_allowed_rejected_examples_are_listed_and_left_out(with_bad_labels, tmp_path):
    folder = build(with_bad_labels, tmp_path / "out", num_classes=3, max_rejected=2)
    manifest = check_dataset(folder).manifest
    assert (manifest.num_rejected, manifest.splits["train"].num_examples) == (2, 58)
    assert not {5, 40} & set(read_split(folder, "train")[1].indices)
    assert read_table(folder / "rejected.parquet").to_pylist() == [
        {"split": "train", "file": "train-labels-idx1-ubyte", "index": i, "reason": f"label {label} is not below 3"}
        for i, label in ((5, 9), (40, 3))
    ]


def test_files_of_an_interrupted_run_are_removed(built, digits_folder, tmp_path):
    folder = shutil.copytree(built, tmp_path / built.name)
    (folder / "manifest.json").unlink()
    (folder / ".train-00000-of-00004.tfrecord.1.tmp").write_bytes(b"half")
    (folder / "train-00000-of-00004.tfrecord").write_bytes(b"half")
    shutil.copytree(folder, folder.with_name(f".scratch-{folder.name}"))
    assert build(digits_folder, tmp_path) == folder
    assert contents(folder) == contents(built)
    assert {path.name for path in tmp_path.iterdir()} == {"digits", folder.name}


def damage_json(path: Path, change) -> None:
    """Change a record and update its digest, as a hostile writer would."""
    record = json.loads(path.read_bytes())
    record.pop("record_sha256")
    change(record)
    digest = hashlib.sha256((json.dumps(record, sort_keys=True, indent=2) + "\n").encode()).hexdigest()
    path.write_text(json.dumps(record | {"record_sha256": digest}, sort_keys=True, indent=2) + "\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["splits"]["train"].update(num_examples=61), "do not add up"),
        (lambda m: m["splits"]["train"]["shards"][0].update(name="../x"), "name"),
        (lambda m: m.update(format_version="2"), "format_version"),
        (lambda m: m.pop("height"), "height"),
        (lambda m: m["config"].update(seed=2), "describes"),
        (lambda m: m["splits"]["train"]["shards"][0].update(num_bytes=1), "expected 1 bytes"),
    ],
)
def test_invalid_manifest_is_corrupt(change, message, built, tmp_path):
    copied = shutil.copytree(built, tmp_path / built.name)
    damage_json(copied / "manifest.json", change)
    with pytest.raises(CorruptArtefact, match=message):
        check_dataset(copied)
