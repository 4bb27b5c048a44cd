import shutil

import numpy as np
import pytest

from model.errors import CorruptArtefact
from pipeline.preprocess.dataset import load_dataset
from pipeline.train.split_reader import make_split_reader, read_first_examples
from tests.helpers import Digits, run_in_process


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A data set of five train shards, and one test shard."""
    folder = tmp_path_factory.mktemp("split_reader")
    digits = Digits().write(folder / "digits")
    done = run_in_process("preprocess", "--workspace", folder / "ws", "--dataset", digits, "--num-shards", 5)
    assert done.code == 0, done.err
    return next((folder / "ws" / "datasets").iterdir())


@pytest.fixture
def dataset(prepared, tmp_path):
    return load_dataset(shutil.copytree(prepared, tmp_path / prepared.name))


def change_digest(dataset, split, number):
    """Return the manifest with another digest of a shard, whose CRC-32C stays right."""
    info = dataset.manifest.splits[split]
    shards = list(info.shards)
    shards[number] = shards[number].model_copy(update={"sha256": "0" * 64})
    changed = info.model_copy(update={"shards": tuple(shards)})
    return dataset.manifest.model_copy(update={"splits": dataset.manifest.splits | {split: changed}})


def test_shards_that_were_not_verified_are_verified_when_they_are_first_read(dataset):
    manifest = change_digest(dataset, "train", 2)
    make_split_reader(dataset.folder, manifest, "train").read_shard(2)  # only its CRC-32C is checked
    reader = make_split_reader(dataset.folder, manifest, "train", is_verified=False)
    first = reader.read_shard(1)
    with pytest.raises(CorruptArtefact, match=f"{manifest.splits['train'].shards[2].name}.*SHA-256"):
        reader.read_shard(2)
    np.testing.assert_array_equal(reader.read_shard(1).images, first.images)


def test_a_shard_is_not_read_before_it_is_needed(dataset):
    shards = dataset.manifest.splits["train"].shards
    (dataset.folder / shards[3].name).unlink()
    reader = make_split_reader(dataset.folder, dataset.manifest, "train", is_verified=False)
    assert sum(len(reader.read_shard(number).labels) for number in (0, 1, 2, 4)) > 0
    with pytest.raises(CorruptArtefact, match=shards[3].name):
        reader.read_shard(3)


def test_monitored_examples_are_verified_if_they_were_not(dataset):
    manifest = change_digest(dataset, "test", 0)
    indices = read_first_examples(dataset.folder, manifest, "test").indices
    assert indices.tolist() == list(range(manifest.splits["test"].num_examples))
    with pytest.raises(CorruptArtefact, match="SHA-256"):
        read_first_examples(dataset.folder, manifest, "test", is_verified=False)
