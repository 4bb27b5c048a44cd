"""Bundles that fail once, and bundles that run twice: the same bytes, or a clear failure and then a clean rerun."""

import shutil
from collections import Counter

import pytest

from tests.engines.catalogue import ENGINES
from tests.engines.test_engines import WRITTEN, artefacts, digits, discard, expected, run_on  # noqa: F401 - fixtures

pytestmark = pytest.mark.engines
BY_NAME = {engine.name: engine for engine in ENGINES}
ON_BOTH_STAGES = pytest.mark.parametrize("stage", ["preprocess", "evaluate"])


def run_stage(stage, engine, source, folder, **probe):
    """Do one stage of a workspace, with a probe that is told something."""
    command = [stage] if stage == "evaluate" else [stage, "--dataset", source, "--num-shards", "3"]
    told = {f"BACKBEAM_PROBE_{name.upper()}": str(value) for name, value in probe.items()}
    [done] = run_on(engine, folder, [command], told)
    return done


def workspace_without(stage, made, folder):
    """Copy a workspace, with a stage undone."""
    discard(shutil.copytree(made, folder / "ws"), stage)
    return folder / "ws"


def failing_once(stage, folder):
    """What makes the first write of a shard or of its predictions fail."""
    (folder / "fail").write_text(WRITTEN[stage])
    return folder / "fail"


@ON_BOTH_STAGES
def test_a_bundle_that_fails_once_is_done_again(stage, digits, expected, tmp_path):  # noqa: F811
    """By an engine that does that."""
    workspace, fail = workspace_without(stage, expected, tmp_path), failing_once(stage, tmp_path)
    engine = BY_NAME["this process, failed bundles again"]
    done = run_stage(stage, engine, digits, tmp_path, fail=fail, writes=tmp_path / "writes")
    assert not fail.exists()
    assert done.code == 0, done.err
    assert artefacts(workspace) == artefacts(expected)
    assert num_writes(tmp_path)[WRITTEN[stage]] == 2


@ON_BOTH_STAGES
def test_a_bundle_that_fails_on_the_default_engine(stage, digits, expected, tmp_path):  # noqa: F811
    """It does nothing again: the job fails, leaves nothing, and a clean rerun gives the same bytes."""
    engine = BY_NAME["this process"]
    workspace, fail = workspace_without(stage, expected, tmp_path), failing_once(stage, tmp_path)
    before = artefacts(workspace)
    failed = run_stage(stage, engine, digits, tmp_path, fail=fail)
    assert not fail.exists()
    assert failed.code == 7, failed.err
    assert "the probe lets this fail" in failed.err
    after = artefacts(workspace)
    after.pop("engine.log", None)
    assert after == before
    again = run_stage(stage, engine, digits, tmp_path, fail=fail)
    assert again.code == 0, again.err
    assert artefacts(workspace) == artefacts(expected)


@ON_BOTH_STAGES
def test_a_bundle_that_runs_twice_writes_the_same_bytes(stage, digits, expected, tmp_path):  # noqa: F811
    workspace = workspace_without(stage, expected, tmp_path)
    engine = BY_NAME["this process, every bundle twice"]
    done = run_stage(stage, engine, digits, tmp_path, writes=tmp_path / "writes")
    assert done.code == 0, done.err
    assert artefacts(workspace) == artefacts(expected)
    assert num_writes(tmp_path)[WRITTEN[stage]] == 2


def num_writes(folder):
    """How often each file was written."""
    lines = (folder / "writes").read_text().splitlines()
    temporary = [line.rpartition("/")[2] for line in lines]  # .NAME.PROCESS.UNIQUE.tmp
    return Counter(".".join(name.split(".")[1:3]) for name in temporary if name.endswith(".tmp"))
