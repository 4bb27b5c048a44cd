from types import SimpleNamespace

import pytest

from model.errors import BadInput
from pipeline import stages
from pipeline.context import StageLog


def test_data_set_that_cannot_be_evaluated_is_rejected_before_training(monkeypatch):
    manifest = SimpleNamespace(class_names=("a", "b"), splits={"train": SimpleNamespace(shards=())})
    monkeypatch.setattr("pipeline.storage.tables.MAX_ROWS", 3)
    monkeypatch.setattr(stages, "find_baseline", lambda *arguments: None)
    monkeypatch.setattr(stages, "preprocess_stage", lambda *arguments: SimpleNamespace(manifest=manifest))
    monkeypatch.setattr(stages, "validate_stage", lambda *arguments: None)
    monkeypatch.setattr(stages, "train_stage", lambda *arguments: pytest.fail("training began"))
    config = stages.JobConfig(*[None] * 7)
    with pytest.raises(BadInput, match="confusion would have 4 rows"):
        stages.run_job(SimpleNamespace(workspace=None), config, StageLog())
