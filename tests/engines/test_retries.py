"""Bundles that fail once, and bundles that run twice: the same bytes, or a clear failure and then a clean rerun."""

from collections import Counter

import pytest

from tests.engines.catalogue import ENGINES
from tests.engines.stages import WRITTEN, command_of, run_on, run_twice_on, workspace_without
from tests.helpers import artefacts, contents

pytestmark = pytest.mark.engines
BY_NAME = {engine.name: engine for engine in ENGINES}
ON_BOTH_STAGES = pytest.mark.parametrize("stage", ["preprocess", "evaluate"])


@pytest.fixture
def fail(stage, tmp_path):
    request = tmp_path / "fail"
    request.write_text(WRITTEN[stage])
    return request


@ON_BOTH_STAGES
@pytest.mark.parametrize("fails", [True, False], ids=["fails once and is done again", "runs twice"])
def test_a_bundle_that_is_done_twice_writes_the_same_bytes(fails, stage, digits, expected, tmp_path, request):
    workspace = workspace_without(stage, expected, tmp_path)
    probe = {"fail": request.getfixturevalue("fail")} if fails else {}
    engine = BY_NAME["this process, failed bundles again" if fails else "this process, every bundle twice"]
    done = run_on(engine, tmp_path, command_of(stage, digits), writes=tmp_path / "writes", **probe)
    assert not (tmp_path / "fail").exists()
    assert done.code == 0, done.err
    assert artefacts(workspace) == artefacts(expected)
    assert num_writes(tmp_path)[WRITTEN[stage]] == 2


@ON_BOTH_STAGES
def test_a_bundle_that_fails_on_the_default_engine(stage, digits, expected, fail, tmp_path):
    """It does nothing again: the job fails, leaves nothing, and a clean rerun gives the same bytes."""
    workspace, engine = workspace_without(stage, expected, tmp_path), BY_NAME["this process"]
    before = contents(workspace)
    failed, after, again = run_twice_on(engine, tmp_path, command_of(stage, digits), fail=fail)
    assert not fail.exists()
    assert failed.code == 5, failed.err  # what the probe lets fail is an operation on the disk
    assert "the probe lets this fail" in failed.err
    for name in ("engine.log", ".lock-holder.json"):  # the note has the next command clear up
        after.pop(name, None)
    assert after == before
    assert again.code == 0, again.err
    assert artefacts(workspace) == artefacts(expected)


def num_writes(folder):
    lines = (folder / "writes").read_text().splitlines()
    temporary = [line.rpartition("/")[2] for line in lines]  # .NAME.PROCESS.UNIQUE.tmp
    return Counter(".".join(name.split(".")[1:3]) for name in temporary if name.endswith(".tmp"))
