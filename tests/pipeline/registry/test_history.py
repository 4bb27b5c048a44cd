"""The history and the pointer to the champion.

Modules that import TensorFlow are imported where they are used: the processes of a test import this file too.
"""

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
    Entry,
    History,
    append_entry,
    champion_path,
    entry_path,
    find_champion,
    load_history,
    load_history_and_repair_pointer,
    rank_champions,
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
    fields = {
        "promoted": champion(history, run_id, version),
        "action": action,
        "run_id": run_id,
        "dataset_id": "digits-1",
        "dataset_digest": DIGEST,
        "reasons": ("because",),
    }
    return History((*history, append_entry(workspace, history, **(fields | about))))


def promoted(workspace: Path, *runs: str) -> History:
    history = load_history_and_repair_pointer(workspace)
    for run_id in runs:
        history = add(workspace, history, "promote", run_id)
    return history


def test_entries_are_loaded_and_the_pointer_names_the_last_promotion(tmp_path):
    history = add(tmp_path, promoted(tmp_path, "one", "two"), "retrain", "three", promoted=None)
    assert load_history(tmp_path) == history
    assert find_champion(tmp_path) == history[1].champion
    assert [entry.before for entry in history] == [None, "one", "two"]


def test_empty_history_has_no_champion(tmp_path):
    assert load_history_and_repair_pointer(tmp_path) == ()
    with pytest.raises(BadUsage, match="has no champion yet"):
        find_champion(tmp_path)


def test_repeated_rollbacks_return_to_each_earlier_champion(tmp_path):
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
def test_lineage_is_a_stack(moves):
    """Compared with a list of versions: None promotes another run, a number rolls back to some version."""
    history = History()
    line = []
    for move in moves:
        number = len(history) + 1
        if move is None or not line:
            version = number
            action = "promote"
            line.append(version)
        else:
            versions = list(history.versions())
            version = versions[move % len(versions)]
            action = "rollback"
            line = line[: line.index(version) + 1] if version in line else [*line[:-1], version]
        fields = {"number": number, "action": action, "outcome": "promoted", "run_id": f"run-{version}"}
        fields |= {"dataset_id": "digits-1", "dataset_digest": DIGEST, "reasons": (), "before": None, "previous": None}
        entry = Entry(**fields, champion=champion(history, f"run-{version}", version), when=now(), who="me")
        history = History((*history, entry))
        assert [champion.version for champion in history.lineage()] == line
        assert history.champion.version == line[-1]


def test_champions_of_the_lineage_are_ranked_by_accuracy_without_forced_ones(tmp_path):
    history = load_history_and_repair_pointer(tmp_path)
    for run_id, num_correct in (("one", 90), ("two", 95), ("three", 93)):
        history = add(tmp_path, history, "retrain", run_id, num_examples=100, num_correct={run_id: num_correct})
    history = add(tmp_path, history, "promote", "forced", forced=True)
    assert [champion.run_id for champion in rank_champions(history)] == ["two", "three", "one"]
    history = add(tmp_path, history, "rollback", "one", 1)
    assert [champion.run_id for champion in rank_champions(history)] == ["one"]
    assert rank_champions(History()) == []


def test_rolled_back_run_stays_rolled_back_until_it_is_promoted_again(tmp_path):
    history = promoted(tmp_path, "one", "two")
    history = add(tmp_path, history, "rollback", "one", 1)
    history = add(tmp_path, history, "promote", "three")
    history = add(tmp_path, history, "rollback", "two", 2)
    assert [champion.run_id for champion in history.lineage()] == ["one", "two"]
    assert history.rolled_back() == {"three"}
    assert _find_version(history, None).run_id == "one"
    history = add(tmp_path, history, "promote", "three")
    assert history.rolled_back() == set()


def test_pointer_that_is_behind_or_missing_is_repaired(tmp_path):
    promoted(tmp_path, "one")
    old_pointer = champion_path(tmp_path).read_bytes()
    promoted(tmp_path, "two")
    champion_path(tmp_path).write_bytes(old_pointer)
    assert load_history_and_repair_pointer(tmp_path).champion.run_id == find_champion(tmp_path).run_id == "two"
    champion_path(tmp_path).unlink()
    load_history_and_repair_pointer(tmp_path)
    assert find_champion(tmp_path).run_id == "two"


def test_missing_last_entry_is_an_error_and_the_pointer_is_not_changed(tmp_path):
    promoted(tmp_path, "one", "two")
    pointer = champion_path(tmp_path).read_bytes()
    for number in (2, 1):
        entry_path(tmp_path, number).unlink()
        faults = [item for item in list_registry(tmp_path) if isinstance(item, Fault)]
        assert [(fault.kind, fault.path) for fault in faults] == [("history", entry_path(tmp_path, number))]
        with pytest.raises(CorruptArtefact, match="names an entry that is not in the history"):
            load_history_and_repair_pointer(tmp_path)
    with pytest.raises(CorruptArtefact, match="put the history back"):
        repair_champion(tmp_path, "registry", set(), tmp_path / "scratch")
    assert champion_path(tmp_path).read_bytes() == pointer


def test_file_that_the_pointer_names_is_listed_for_verification(tmp_path):
    history = promoted(tmp_path, "one")
    [named] = [item for item in list_registry(tmp_path) if isinstance(item, ExpectedFile)]
    assert (named.path, named.info) == (tmp_path / "runs/one/parameters.safetensors", history.champion.parameters)


def test_missing_changed_and_foreign_entries_are_rejected(tmp_path):
    promoted(tmp_path / "first", "one", "two", "three")
    promoted(tmp_path / "second", "four", "five", "six")
    path = entry_path(tmp_path / "first", 2)
    sound = path.read_bytes()
    path.write_bytes(entry_path(tmp_path / "second", 2).read_bytes())
    with pytest.raises(CorruptArtefact, match=r"00000002\.json does not follow the entry before it"):
        load_history(tmp_path / "first")
    path.write_bytes(sound.replace(b"because", b"becausE"))
    with pytest.raises(CorruptArtefact, match=r"00000002\.json is corrupt"):
        load_history(tmp_path / "first")
    path.unlink()
    with pytest.raises(CorruptArtefact, match=r"00000002\.json is missing"):
        load_history(tmp_path / "first")


def test_entry_of_another_process_is_not_overwritten(tmp_path):
    before = load_history_and_repair_pointer(tmp_path)
    promoted(tmp_path, "one")
    with pytest.raises(Locked, match="written by another process meanwhile"):
        add(tmp_path, before, "promote", "two")
    assert [entry.run_id for entry in load_history(tmp_path)] == ["one"]


def try_to_append(workspace: str, name: str) -> bool:
    try:
        add(Path(workspace), History(), "promote", name)
    except Locked:
        return False
    return True


@pytest.mark.thorough
def test_of_concurrent_processes_exactly_one_appends_an_entry(tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        won = pool.starmap(try_to_append, [(str(tmp_path), f"run-{number}") for number in range(12)])
    assert won.count(True) == 1
    [entry] = load_history_and_repair_pointer(tmp_path)
    assert entry.run_id == f"run-{won.index(True)}" == find_champion(tmp_path).run_id
    assert [path.name for path in entry_path(tmp_path, 1).parent.iterdir()] == ["00000001.json"]


def test_a_deletion_is_an_entry_that_leaves_the_champion(tmp_path):
    history = promoted(tmp_path, "one", "two")
    about = {"action": "prune", "run_id": None, "dataset_id": None, "dataset_digest": None, "reasons": ()}
    entry = append_entry(tmp_path, history, **about, deleted=("runs/one", "datasets/digits-1"))
    history = History((*history, entry))
    assert load_history(tmp_path) == history
    assert history[-1].champion == find_champion(tmp_path) == history[1].champion
    number = history[-1].number
    assert history.last_deletion == history[-1]
    assert history.deletions() == {"runs/one": number, "datasets/digits-1": number}
    assert [champion.run_id for champion in history.lineage()] == ["one", "two"]


@pytest.mark.parametrize(
    ("action", "dataset_id", "deleted"),
    [
        ("prune", None, ()),
        ("prune", "digits-1", ("runs/one",)),
        ("promote", None, ()),
        ("promote", "digits-1", ("runs/one",)),
        ("rm", None, ("runs/../datasets",)),
        ("rm", None, ("registry/history",)),
    ],
)
def test_entries_that_are_neither_a_decision_nor_a_deletion_are_rejected(action, dataset_id, deleted, tmp_path):
    about = {"action": action, "run_id": None, "dataset_id": dataset_id, "dataset_digest": DIGEST, "reasons": ()}
    with pytest.raises(ValueError, match=r"a deletion names|should match pattern"):
        append_entry(tmp_path, History(), **about, deleted=deleted)
