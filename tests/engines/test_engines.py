"""The same bytes from every engine, and a clear failure when a worker is killed, by the real command."""

import pytest

from tests.engines.catalogue import EMBEDDED, ENGINES, KILLABLE, NOTES, with_table
from tests.engines.stages import STEPS, WRITTEN, command_of, run_on, run_twice_on, workspace_without
from tests.helpers import artefacts, contents, run_in_process


def parametrized(engines):
    marked = [pytest.param(x, id=x.name, marks=[] if x.quick else pytest.mark.engines) for x in engines]
    return pytest.mark.parametrize("engine", marked)


@parametrized((*ENGINES, *EMBEDDED))
@pytest.mark.thorough
def test_the_same_bytes(engine, digits, expected, tmp_path):
    done = run_on(engine, tmp_path, ["run", "--dataset", digits, *STEPS], writes=tmp_path / "writes")
    assert done.code == 0, done.err
    assert artefacts(tmp_path / "ws") == artefacts(expected)
    assert "INFO" not in done.err
    assert "WARNING" not in done.err
    check_writes(tmp_path)


def check_writes(folder):
    """Every process wrote below the workspace, but for the servers' own files."""
    written = (folder / "writes").read_text().splitlines()
    assert any("/ws/datasets/.scratch-" in path for path in written)
    strange = [path for path in written if not path.startswith((str(folder), "/dev/"))]
    assert strange == []


def failing(stage, engine):
    later = [stage == "evaluate", not engine.quick]
    marks = ([pytest.mark.engines] if any(later) else []) + ([pytest.mark.slow] if all(later) and engine.killed else [])
    return pytest.param(stage, engine, id=f"{stage}-{engine.name}", marks=marks)


@pytest.mark.parametrize(
    ("stage", "engine"),
    [failing(stage, engine) for stage in ("preprocess", "evaluate") for engine in (*KILLABLE, ENGINES[0])],
)
@pytest.mark.thorough
def test_a_killed_worker_or_a_disk_that_fails(stage, engine, digits, expected, tmp_path):
    """While a shard, or predictions, are written: that fails clearly, leaves nothing, and can be done again."""
    workspace, request = workspace_without(stage, expected, tmp_path), tmp_path / "request"
    before = contents(workspace)
    request.write_text(WRITTEN[stage])
    probe = {"kill" if engine.killed else "fail": request}
    failed, after, again = run_twice_on(engine, tmp_path, command_of(stage, digits), **probe)
    assert not request.exists()
    assert failed.code == (7 if engine.killed else 5), failed.err
    assert ("backbeam: the engine failed" if engine.killed else "the probe lets this fail") in failed.err
    assert len(failed.err.splitlines()) == 2, failed.err  # what it is at, and how that ended
    for name in ("engine.log", ".lock-holder.json"):  # the next command clears up the latter
        assert after.pop(name, b"nothing written, nothing kept")
    assert after == before
    assert again.code == 0, again.err
    assert artefacts(workspace) == artefacts(expected)


@pytest.mark.parametrize("option", ["--runner=FnApiRunner", "--direct_num_workers=3"])
def test_workers_are_chosen_once(option, digits, tmp_path):
    done = run_in_process(
        "preprocess", "--dataset", digits, "--workspace", tmp_path / "ws", "--workers", 2, "--", option
    )
    assert done.code == 2
    assert f"--workers 2 and {option}" in done.err
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize("option", ["--dry_run=True", "--template_location=job.json"])
def test_an_engine_that_would_run_the_job_is_not_asked_to_build_it_only(option, digits, tmp_path):
    done = run_in_process("preprocess", "--dataset", digits, "--workspace", tmp_path / "ws", "--", option)
    assert done.code == 2
    assert f"{option} goes with --runner=DataflowRunner" in done.err
    assert list((tmp_path / "ws" / "datasets").iterdir()) == []


def test_the_table_of_the_notes_is_what_is_tested():
    notes = NOTES.read_text()
    assert with_table(notes) == notes, "run python -m tests.engines.catalogue"
