"""Bundles that fail once and are done again, and bundles that run twice: the same bytes."""

from collections import Counter

import pytest

from tests.engines.catalogue import ENGINES
from tests.engines.stages import WRITTEN, command_of, run_on, workspace_without
from tests.helpers import artefacts

pytestmark = pytest.mark.engines
BY_NAME = {engine.name: engine for engine in ENGINES}


@pytest.mark.parametrize("stage", [*WRITTEN])
@pytest.mark.parametrize("fails", [True, False], ids=["fails once and is done again", "runs twice"])
def test_a_bundle_that_is_done_twice_writes_the_same_bytes(fails, stage, digits, expected, tmp_path):
    workspace = workspace_without(stage, expected, tmp_path)
    (tmp_path / "fail").write_text(WRITTEN[stage] if fails else "no such file")
    engine = BY_NAME["this process, failed bundles again" if fails else "this process, every bundle twice"]
    done = run_on(engine, tmp_path, command_of(stage, digits), writes=tmp_path / "writes", fail=tmp_path / "fail")
    assert (tmp_path / "fail").exists() != fails
    assert done.code == 0, done.err
    assert artefacts(workspace) == artefacts(expected)
    assert num_writes(tmp_path)[WRITTEN[stage]] == 2


def num_writes(folder):
    lines = (folder / "writes").read_text().splitlines()
    temporary = [line.rpartition("/")[2] for line in lines]  # .NAME.PROCESS.UNIQUE.tmp
    return Counter(".".join(name.split(".")[1:3]) for name in temporary if name.endswith(".tmp"))
