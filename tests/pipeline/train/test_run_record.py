from model.recipes import RECIPES
from pipeline.train import run_record as runs


def test_a_run_of_other_streams_of_random_numbers_has_another_id(monkeypatch):
    """So a half-trained run of an earlier version is not gone on with, and a complete one not taken for this one's."""
    config = RECIPES["article-manual"].config
    ours = runs.run_id("0" * 64, config)
    assert runs.run_id("0" * 64, config) == ours
    monkeypatch.setattr(runs, "STREAMS_VERSION", runs.STREAMS_VERSION - 1)
    assert runs.run_id("0" * 64, config) != ours
