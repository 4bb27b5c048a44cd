"""The history and the pointer to the champion."""

import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BadUsage, CorruptArtefact, Locked
from pipeline.maintenance.findings import ExpectedFile, Fault
from pipeline.maintenance.inventory import list_registry
from pipeline.maintenance.repair_artefacts import repair_champion
from pipeline.registry.history import (
    Champion,
    History,
    append,
    best_first,
    champion_path,
    entry_path,
    find_champion,
    load_history,
    open_history,
)
from pipeline.registry.promotion import _find_version
from pipeline.storage.records import FileInfo, now

DIGEST = "0" * 64


def champion(history: History, run_id: str, version: int | None = None) -> Champion:
    number = len(history) + 1
    return Champion(
        version=version or number,
        entry=number,
        run_id=run_id,
        folder=f"runs/{run_id}",
        parameters=FileInfo(name="parameters.safetensors", num_bytes=1, sha256=DIGEST),
        dataset_id="digits-1",
        dataset_digest=DIGEST,
        since=now(),
    )


def add(workspace: Path, history: History, action: str, run_id: str, version: int | None = None, **about) -> History:
    kept = about.get("outcome") == "kept"
    fields = {
        "action": action,
        "outcome": "promoted",
        "run_id": run_id,
        "dataset_id": "digits-1",
        "dataset_digest": DIGEST,
        "reasons": ("because",),
        "champion": history.champion if kept else champion(history, run_id, version),
    }
    return History((*history, append(workspace, history, **(fields | about))))


def promoted(workspace: Path, *runs: str) -> History:
    history = open_history(workspace)
    for run_id in runs:
        history = add(workspace, history, "promote", run_id)
    return history


def test_entries_are_read_back_and_the_pointer_follows(tmp_path):
    history = add(tmp_path, promoted(tmp_path, "one", "two"), "retrain", "three", outcome="kept", inputs="a" * 64)
    assert load_history(tmp_path) == history
    assert find_champion(tmp_path) == history[1].champion
    assert [entry.before for entry in history] == [None, "one", "two"]
    assert history.seen("a" * 64) == history[2]
    assert history.seen("b" * 64) is None


def test_there_is_no_champion_before_the_first(tmp_path):
    assert open_history(tmp_path) == ()
    with pytest.raises(BadUsage, match="has no champion yet"):
        find_champion(tmp_path)


def test_rollbacks_go_back_step_by_step(tmp_path):
    history = promoted(tmp_path, "one", "two", "three")
    for run_id, version in (("two", 2), ("one", 1)):
        assert _find_version(history, None).run_id == run_id
        history = add(tmp_path, history, "rollback", run_id, version)
    assert history.champion.run_id == "one"
    assert history.champion.version == 1
    assert history.rolled_back() == {"two", "three"}
    with pytest.raises(BadUsage, match="there is none before it"):
        _find_version(history, None)
    assert _find_version(history, 3).run_id == "three"
    with pytest.raises(BadUsage, match="there is no version 4; there are: 1, 2, 3"):
        _find_version(history, 4)


@given(st.lists(st.one_of(st.just(None), st.integers(0, 30)), max_size=25))
def test_the_line_is_a_stack(moves):
    """None promotes another run, a number rolls back to some version; a list of versions does the same."""
    history, line = History(), []
    for move in moves:
        number = len(history) + 1
        if move is None or not line:
            version, action = number, "promote"
            line.append(version)
        else:
            versions = list(history.versions())
            version, action = versions[move % len(versions)], "rollback"
            line = line[: line.index(version) + 1] if version in line else [*line[:-1], version]
        fields = {"number": number, "action": action, "outcome": "promoted", "run_id": f"run-{version}"}
        fields |= {"dataset_id": "digits-1", "dataset_digest": DIGEST, "reasons": (), "before": None, "previous": None}
        entry = entry_type()(**fields, champion=champion(history, f"run-{version}", version), when=now(), who="me")
        history = History((*history, entry))
        assert [each.version for each in history.line()] == line
        assert history.champion.version == line[-1]


def entry_type():
    from pipeline.registry.history import Entry

    return Entry


def test_the_best_is_the_most_accurate_of_the_line_and_no_forced_one(tmp_path):
    history = open_history(tmp_path)
    for run_id, num_correct in (("one", 90), ("two", 95), ("three", 93)):
        history = add(tmp_path, history, "retrain", run_id, num_examples=100, num_correct={run_id: num_correct})
    history = add(tmp_path, history, "promote", "forced", forced=True)
    assert [champion.run_id for champion in best_first(history)] == ["two", "three", "one"]
    history = add(tmp_path, history, "rollback", "one", 1)
    assert [champion.run_id for champion in best_first(history)] == ["one"]
    assert best_first(History()) == []


def test_one_that_was_rolled_back_does_not_come_back_by_another_way(tmp_path):
    history = promoted(tmp_path, "one", "two")
    history = add(tmp_path, history, "rollback", "one", 1)
    history = add(tmp_path, history, "promote", "three")
    history = add(tmp_path, history, "rollback", "two", 2)
    assert [champion.run_id for champion in history.line()] == ["one", "two"]
    assert history.rolled_back() == {"three"}
    assert _find_version(history, None).run_id == "one"
    history = add(tmp_path, history, "promote", "three")
    assert history.rolled_back() == set()


def test_a_pointer_that_is_behind_follows_when_the_next_process_works(tmp_path):
    promoted(tmp_path, "one")
    behind = champion_path(tmp_path).read_bytes()
    promoted(tmp_path, "two")
    champion_path(tmp_path).write_bytes(behind)
    assert open_history(tmp_path).champion.run_id == find_champion(tmp_path).run_id == "two"


def test_a_lost_pointer_comes_back(tmp_path):
    promoted(tmp_path, "one")
    champion_path(tmp_path).unlink()
    open_history(tmp_path)
    assert find_champion(tmp_path).run_id == "one"


def test_a_history_that_lost_its_end_is_refused(tmp_path):
    promoted(tmp_path, "one", "two")
    entry_path(tmp_path, 2).unlink()
    with pytest.raises(CorruptArtefact, match="names an entry that is not in the history"):
        open_history(tmp_path)


def test_a_lost_end_is_a_fault_of_the_history_and_the_pointer_stays(tmp_path):
    promoted(tmp_path, "one", "two")
    standing = champion_path(tmp_path).read_bytes()
    for number in (2, 1):
        entry_path(tmp_path, number).unlink()
        faults = [item for item in list_registry(tmp_path) if isinstance(item, Fault)]
        assert [(fault.kind, fault.path) for fault in faults] == [("history", entry_path(tmp_path, number))]
    with pytest.raises(CorruptArtefact, match="put the history back"):
        repair_champion(tmp_path, "registry", set(), tmp_path / "scratch")
    assert champion_path(tmp_path).read_bytes() == standing


def test_what_the_pointer_names_is_looked_at(tmp_path):
    history = promoted(tmp_path, "one")
    [named] = [item for item in list_registry(tmp_path) if isinstance(item, ExpectedFile)]
    assert (named.path, named.info) == (tmp_path / "runs/one/parameters.safetensors", history.champion.parameters)


def test_a_gap_a_change_and_an_entry_of_another_history_are_refused(tmp_path):
    promoted(tmp_path / "ours", "one", "two", "three")
    promoted(tmp_path / "theirs", "four", "five", "six")
    path = entry_path(tmp_path / "ours", 2)
    sound = path.read_bytes()
    path.write_bytes(entry_path(tmp_path / "theirs", 2).read_bytes())
    with pytest.raises(CorruptArtefact, match=r"00000002\.json does not follow the entry before it"):
        load_history(tmp_path / "ours")
    path.write_bytes(sound.replace(b"because", b"becausE"))
    with pytest.raises(CorruptArtefact, match=r"00000002\.json is corrupt"):
        load_history(tmp_path / "ours")
    path.unlink()
    with pytest.raises(CorruptArtefact, match=r"00000002\.json is missing"):
        load_history(tmp_path / "ours")


def test_an_entry_that_another_process_wrote_meanwhile_stays(tmp_path):
    before = open_history(tmp_path)
    promoted(tmp_path, "one")
    with pytest.raises(Locked, match="written by another process meanwhile"):
        add(tmp_path, before, "promote", "two")
    assert [entry.run_id for entry in load_history(tmp_path)] == ["one"]


def race(workspace: str, name: str) -> bool:
    try:
        add(Path(workspace), History(), "promote", name)
    except Locked:
        return False
    return True


def test_of_many_processes_one_writes_an_entry(tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        won = pool.starmap(race, [(str(tmp_path), f"run-{number}") for number in range(12)])
    assert won.count(True) == 1
    [entry] = open_history(tmp_path)
    assert entry.run_id == f"run-{won.index(True)}" == find_champion(tmp_path).run_id
    assert [path.name for path in entry_path(tmp_path, 1).parent.iterdir()] == ["00000001.json"]
