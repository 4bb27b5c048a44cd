"""Optional fields with their default are omitted from a record's file, so that older records keep their digest."""

import json

import pytest

from model.recipes import RECIPES, TrainingConfig, WarmStart
from pipeline.preprocess.manifest import Manifest, PartInfo, PreprocessConfig, ShardInfo
from pipeline.storage.records import FileInfo, Record
from pipeline.train.run_record import Conditions, RunRecord

DIGEST = "0" * 64
FILE = {"name": "x", "num_bytes": 1, "sha256": DIGEST}
SHARD = ShardInfo(**FILE, crc32c=1, num_examples=1, class_counts=(1,), pixel_sum=1, pixel_square_sum=1)
PART = PartInfo(dataset_id="a-1", dataset_digest=DIGEST, num_source={})
START = WarmStart(run_id="a", sha256=DIGEST)
CONFIG = next(iter(RECIPES.values())).config
MANIFEST = Manifest(
    name="x",
    height=1,
    width=1,
    class_names=("a",),
    config=PreprocessConfig(seed=1, num_shards=1),
    sources=(),
    splits={},
    num_rejected=0,
    rejected=None,
)
RUN = RunRecord(
    run_id="a",
    dataset_id="x",
    dataset_digest=DIGEST,
    config=CONFIG,
    parameters=FileInfo(**FILE),
    tables=(),
    agreement=None,
    device="CPU",
    seconds=1.0,
    finished="2026-01-01T00:00:00.000+00:00",
    versions={},
    conditions=Conditions(
        code_digest=DIGEST, machine="x", num_processors=1, inter_op_threads=0, intra_op_threads=0, xla_flags=""
    ),
)


@pytest.mark.parametrize(
    ("record", "field", "value"),
    [(SHARD, "part", 0), (MANIFEST, "parts", (PART,)), (RUN, "resumed_at", (10,))],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_optional_field_with_its_default_is_omitted_from_the_file(record: Record, field, value, tmp_path):
    without = record.to_json()
    given = record.model_copy(update={field: value}).to_json()
    content = {key: item for key, item in json.loads(given).items() if key != "record_sha256"}
    assert content.pop(field) == json.loads(json.dumps(value, default=vars))
    assert content == {key: item for key, item in json.loads(without).items() if key != "record_sha256"}
    for data in (without, given):
        assert type(record).from_json(data, tmp_path / "x").to_json() == data


def test_a_missing_warm_start_is_omitted_from_the_file():
    assert "warm_start" not in CONFIG.model_dump(mode="json")
    assert "warm_start" not in json.loads(RUN.to_json())["config"]
    started = TrainingConfig(**CONFIG.model_dump() | {"warm_start": START})
    assert started.model_dump(mode="json") == CONFIG.model_dump(mode="json") | {"warm_start": START.model_dump()}
    assert TrainingConfig.model_validate_json(json.dumps(started.model_dump(mode="json"))) == started
