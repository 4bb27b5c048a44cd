"""The optional fields of records, and commits to a store."""

import json

import pytest

from model.errors import Locked
from pipeline.preprocess.manifest import Manifest, PartInfo
from pipeline.storage.places import RemotePath
from pipeline.storage.records import commit_file
from pipeline.train.run_record import RunRecord

DIGEST = "0" * 64
PART = PartInfo(dataset_id="a-1", dataset_digest=DIGEST, num_source={})


@pytest.fixture(scope="module")
def records(digits_run):
    """A manifest without splits, the record of a shard and that of a run."""
    (manifest_file,) = digits_run.glob("datasets/*/manifest.json")
    (run_file,) = digits_run.glob("runs/*/run.json")
    manifest = Manifest.load(manifest_file)
    shard = manifest.splits["train"].shards[0]
    without_splits = manifest.model_copy(update={"splits": {}})
    return {"manifest": without_splits, "shard": shard, "run": RunRecord.load(run_file)}


def content_of(data):
    return {key: value for key, value in json.loads(data).items() if key != "record_sha256"}


@pytest.mark.parametrize(
    ("name", "field", "value"), [("shard", "part", 0), ("manifest", "parts", (PART,)), ("run", "resumed_at", (10,))]
)
def test_an_optional_field_with_its_default_is_omitted_from_the_file(name, field, value, records, tmp_path):
    """So that records that were written before the field existed keep their digest."""
    record = records[name]
    without = record.to_json()
    given = record.model_copy(update={field: value}).to_json()
    assert field not in content_of(without)
    assert content_of(given) == content_of(without) | {field: json.loads(json.dumps(value, default=vars))}
    for data in (without, given):
        assert type(record).from_json(data, tmp_path / "x").to_json() == data


def record(digest, **more):
    return json.dumps({"run_id": "a", "parameters": {"name": "p", "sha256": digest}, **more}).encode()


def test_a_record_committed_by_another_process_is_kept(memory):
    place = RemotePath("memory://b/run.json")
    first = record("1", seconds=1)
    commit_file(place, first)
    commit_file(place, first)
    commit_file(place, record("1", seconds=2))  # which names the same files
    for other in (record("2"), b"{}", b"\xff"):
        with pytest.raises(Locked, match=r"run\.json was written by another process in the meantime, and stays"):
            commit_file(place, other)
    assert memory == {"memory://b/run.json": first}
