from model.recipes import RECIPES
from pipeline.train import run_record


def test_run_id_depends_on_the_version_of_the_random_streams(monkeypatch):
    """So a run of an earlier version is neither resumed nor taken for a complete run of this version."""
    config = RECIPES["article-manual"].config
    current = run_record.run_id("0" * 64, config)
    assert run_record.run_id("0" * 64, config) == current
    monkeypatch.setattr(run_record, "STREAMS_VERSION", run_record.STREAMS_VERSION - 1)
    assert run_record.run_id("0" * 64, config) != current
