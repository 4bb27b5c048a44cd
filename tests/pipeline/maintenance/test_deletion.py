"""`prune`, `rm` and `du` on a workspace with every kind of artefact."""

import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from model.errors import BadUsage, StorageFailed
from pipeline.maintenance import deletion
from pipeline.maintenance.disk_usage import list_usage
from pipeline.maintenance.retention_config import Retention
from pipeline.maintenance.verify import find_scope, verify
from pipeline.preprocess.provenance import find_time_made, load_origin, origin_path
from pipeline.registry.history import deletion_mark, find_champion, load_history
from pipeline.storage import local_disk
from pipeline.storage.lock import lock_workspace
from pipeline.storage.object_store import ObjectStore
from pipeline.storage.places import place_of
from pipeline.storage.records import now
from pipeline.train.run_record import load_run
from tests.helpers import contents, run_in_process


@pytest.fixture
def workspace(everything, tmp_path) -> Path:
    """Two runs of a group of seeds, the first of which is the champion, and a challenger on another data set."""
    return shutil.copytree(everything / "ws", tmp_path / "ws")


def challenger(workspace: Path) -> str:
    [folder] = workspace.glob("runs/*seed3*")
    return folder.name


def files_of(workspace: Path, name: str) -> list[str]:
    return [path for path in contents(workspace) if name in path]


def test_prune_deletes_what_nothing_needs_with_all_its_files_and_enters_it(workspace):
    run_id = challenger(workspace)
    [dataset_id] = [path.name for path in workspace.glob("datasets/*") if "others" in path.name]
    for command in (("report", run_id), ("inspect", dataset_id)):
        assert run_in_process(*command, "--workspace", workspace).code == 0
    before = contents(workspace)
    dry = run_in_process("prune", "--workspace", workspace, "--keep", 0, "--dry-run", "--json").json
    assert contents(workspace) == before
    done = run_in_process("prune", "--workspace", workspace, "--keep", 0, "--why", "space", "--json").json
    assert [each["name"] for each in done["deleted"]] == [f"runs/{run_id}", f"datasets/{dataset_id}"]
    assert dry["deleted"] == done["deleted"]
    assert files_of(workspace, run_id) + files_of(workspace, dataset_id) == []
    after = contents(workspace)
    freed = sum(len(before[path]) for path in before if path not in after)
    assert freed == done["num_bytes"] == sum(each["num_bytes"] for each in done["deleted"])
    assert all(after[path] == data for path, data in before.items() if path in after)
    entry = load_history(workspace)[-1]
    assert (entry.number, entry.action, entry.why) == (done["entry"], "prune", "space")
    assert entry.deleted == (f"runs/{run_id}", f"datasets/{dataset_id}")
    assert run_in_process("verify", workspace, "--json").json["sound"]
    shown = run_in_process("history", "--workspace", workspace).out
    assert re.search(r"prune: deleted +1 run, 1 data set .*space; --keep 0", shown)
    again = run_in_process("prune", "--workspace", workspace, "--keep", 0)
    assert (again.code, again.out) == (0, "nothing to delete\n")
    assert run_in_process("champion", "--workspace", workspace).code == 0


def test_prune_without_a_rule_deletes_nothing(workspace):
    before = contents(workspace)
    done = run_in_process("prune", "--workspace", workspace)
    assert (done.code, "--keep" in done.err) == (2, True)
    assert contents(workspace) == before


def test_the_rule_may_stand_in_a_file_and_its_reference_is_kept(workspace, tmp_path):
    file = tmp_path / "backbeam.toml"
    file.write_text(f'[retention]\nkeep = 0\n[promotion]\nreference = "{challenger(workspace)}"\n')
    done = run_in_process("prune", "--workspace", workspace, "--config", file)
    assert (done.code, done.out) == (0, "nothing to delete\n")
    assert run_in_process("prune", "--workspace", workspace, "--config", file, "--keep", 5).code == 0


def test_rm_deletes_a_run_and_refuses_what_is_needed(workspace):
    run_id = challenger(workspace)
    before = contents(workspace)
    for name, reason in (
        ("champion", "champion"),
        ("article-manual-seed2", "group of seeds"),
        ("others", "data set of"),
    ):
        refused = run_in_process("rm", "--workspace", workspace, name)
        assert (refused.code, reason in refused.err) == (2, True), refused.err
        assert contents(workspace) == before
    assert run_in_process("rm", "--workspace", workspace, "nothing").code == 2
    assert run_in_process("rm", "--workspace", workspace, run_id, "others", "--dry-run").code == 0
    assert contents(workspace) == before
    assert run_in_process("rm", "--workspace", workspace, run_id, "others").code == 0
    entries = load_history(workspace)
    again = run_in_process("rm", "--workspace", workspace, run_id, "others")
    assert (again.code, again.out, load_history(workspace)) == (0, "nothing to delete\n", entries)
    assert files_of(workspace, run_id) == []
    assert run_in_process("verify", workspace).code == 0


def test_du_says_what_takes_how_much_and_why(workspace):
    done = run_in_process("du", "--workspace", workspace, "--json").json
    files = contents(workspace)
    assert done["num_bytes"] == sum(map(len, files.values()))
    items = {item["name"]: item for item in done["items"]}
    run_id = challenger(workspace)
    assert items[f"runs/{run_id}"]["would_go"]
    reasons = {re.sub(r"-[0-9a-f]{12}", "", name): item["kept_because"] for name, item in items.items()}
    assert reasons["runs/article-manual-seed1"] == "champion"
    assert reasons["runs/article-manual-seed2"].startswith("in one group of seeds with runs/article-manual-seed1")
    history = [path for path in files if path.startswith(("registry/history/", "registry/champion"))]
    assert items["history"]["num_bytes"] == sum(len(files[path]) for path in history)
    text = run_in_process("du", "--workspace", workspace, "--keep", 1).out
    assert "of the newest 1 runs" in text


def test_verify_finds_a_rollback_target_whose_files_are_gone_until_it_is_entered(workspace):
    run_id = challenger(workspace)
    promoted = run_in_process("promote", run_id, "--workspace", workspace, "--force", "--why", "a test")
    assert promoted.code == 0
    back = run_in_process("rollback", "--workspace", workspace)
    assert back.code == 0
    for path in (workspace / "runs" / run_id, *workspace.glob(f"reports/*/run={run_id}")):
        shutil.rmtree(path)
    [fault] = verify(find_scope(workspace)).faults
    assert (fault.kind, fault.owner) == ("rollback target", run_id)
    assert f"backbeam rm {run_id}" in str(fault.remedy)
    assert run_in_process("rm", run_id, "--workspace", workspace).code == 0
    assert not verify(find_scope(workspace)).faults
    refused = run_in_process("rollback", "--workspace", workspace, "--to", len(load_history(workspace)) - 2)
    assert (refused.code, "was deleted" in refused.err) == (2, True)


class Stopped(Exception):
    pass


def test_wherever_a_deletion_stops_verify_is_sound_and_the_next_one_completes_it(workspace, tmp_path, monkeypatch):
    rule = Retention(keep=0)
    run_id = challenger(workspace)
    operations: list[str] = []
    finished = shutil.copytree(workspace, tmp_path / "finished")
    monkeypatch.setattr(local_disk, "hook", lambda name, path: operations.append(name))
    with lock_workspace(finished):
        deletion.prune(finished, rule)
    for number in range(0, len(operations), 7):
        copy = shutil.copytree(workspace, tmp_path / str(number))
        remaining = iter(range(number))

        def stop(name, path, remaining=remaining):
            if next(remaining, None) is None:
                raise Stopped

        monkeypatch.setattr(local_disk, "hook", stop)
        with pytest.raises(Stopped), lock_workspace(copy):
            deletion.prune(copy, rule)
        monkeypatch.setattr(local_disk, "hook", None)
        assert not verify(find_scope(copy)).faults, operations[number]
        is_whole = bool(list(copy.glob(f"reports/evaluations/run={run_id}")))
        assert not is_whole or len(list(copy.glob(f"reports/*/run={run_id}"))) == 10
        with lock_workspace(copy):  # deletes temporary files
            deletion.prune(copy, rule)
        assert {*contents(copy)} == {*contents(finished)}
        assert len(load_history(copy)) == len(load_history(finished))
        shutil.rmtree(copy)


def test_a_run_that_is_put_back_or_made_again_after_its_deletion_is_no_leftover(workspace):
    run_id = challenger(workspace)
    saved = {path: data for path, data in contents(workspace).items() if run_id in path}
    assert run_in_process("rm", run_id, "--workspace", workspace).code == 0
    for path, data in saved.items():
        (workspace / path).parent.mkdir(parents=True, exist_ok=True)
        (workspace / path).write_bytes(data)
    rule = Retention(keep=9)
    assert deletion.prune(workspace, rule, dry_run=True).deleted == {}
    deletion_mark(workspace, len(load_history(workspace))).unlink()  # as if the deletion had been interrupted
    assert set(deletion.prune(workspace, rule, dry_run=True).deleted) == {f"runs/{run_id}"}
    folder = workspace / "runs" / run_id
    (folder / "run.json").write_bytes(load_run(folder).model_copy(update={"finished": now()}).to_json())
    assert deletion.prune(workspace, rule, dry_run=True).deleted == {}


def test_a_champion_without_a_record_keeps_its_files_its_group_and_its_data_set(workspace):
    champion = find_champion(workspace)
    run_id = challenger(workspace)
    (workspace / champion.folder / "run.json").rename(workspace / "run.json")
    deleted = deletion.prune(workspace, Retention(keep=0), dry_run=True).deleted
    assert [name for name in deleted if not name.startswith("datasets/others-")] == [f"runs/{run_id}"]
    with pytest.raises(BadUsage, match="champion"):
        deletion.remove(workspace, [f"runs/{champion.run_id}"])


def test_a_deleted_run_that_is_promoted_again_is_no_leftover_and_its_loss_is_a_fault(workspace, tmp_path):
    run_id = challenger(workspace)
    copy = shutil.copytree(workspace, tmp_path / "copy")
    assert run_in_process("rm", run_id, "--workspace", workspace).code == 0
    deletion_mark(workspace, len(load_history(workspace))).unlink()
    shutil.copytree(copy, workspace, dirs_exist_ok=True)
    promote = ("promote", run_id, "--workspace", workspace, "--force", "--why", "a test")
    assert run_in_process(*promote).code == 0
    (workspace / "runs" / run_id / "run.json").unlink()
    assert deletion.prune(workspace, Retention(keep=9), dry_run=True).deleted == {}
    assert not verify(find_scope(workspace)).leftovers
    assert run_in_process("rollback", "--workspace", workspace).code == 0
    assert "rollback target" in {fault.kind for fault in verify(find_scope(workspace)).faults}


def test_answers_of_a_deleted_run_are_left_over_until_the_deletion_is_completed(workspace):
    run_id = challenger(workspace)
    assert run_in_process("rm", run_id, "--workspace", workspace).code == 0
    folder = workspace / "registry" / "contests" / "digits" / run_id
    folder.mkdir(parents=True)
    (folder / "answers.json").write_bytes(b"")
    assert folder not in verify(find_scope(workspace)).leftovers
    deletion_mark(workspace, len(load_history(workspace))).unlink()
    assert folder in verify(find_scope(workspace)).leftovers
    assert set(deletion.prune(workspace, Retention(keep=9)).deleted) == {f"runs/{run_id}"}
    assert not folder.exists()
    assert deletion.prune(workspace, Retention(keep=9)).deleted == {}


def test_in_a_store_the_record_goes_before_the_rest(workspace, memory, tmp_path, monkeypatch):
    monkeypatch.setenv("BACKBEAM_CACHE_DIR", str(tmp_path / "cache"))
    place = place_of("memory://bucket/ws")
    for path, data in contents(workspace).items():
        memory[f"{place}/{path}"] = data
    run_id = challenger(workspace)
    deleted: list[str] = []
    delete = ObjectStore.delete

    def record(store: ObjectStore, uris: Iterable[str]) -> None:
        listed = list(uris)
        deleted.extend(listed)
        delete(store, listed)

    monkeypatch.setattr(ObjectStore, "delete", record)
    result = deletion.prune(place, Retention(keep=0))
    assert f"runs/{run_id}" in result.deleted
    of_run = [uri.removeprefix(f"{place}/") for uri in deleted if run_id in uri]
    assert of_run[0] == f"runs/{run_id}/run.json"
    tables = [path for path in of_run if path.startswith("reports/")]
    assert tables[0].startswith("reports/evaluations/")
    assert not [uri for uri in memory if run_id in uri]
    found = verify(find_scope(place))
    assert (found.faults, found.leftovers) == ((), ())
    assert result.deleted == deletion.prune(workspace, Retention(keep=0), dry_run=True).deleted
    usage = {item.name: item.num_bytes for item in list_usage(place, Retention(keep=0))}
    assert sum(usage.values()) - usage["local copies"] == sum(map(len, memory.values()))


@pytest.mark.thorough
def test_retrain_prunes_after_its_decision_if_the_configuration_says_so(everything, workspace, tmp_path):
    file = tmp_path / "backbeam.toml"
    file.write_text("[retention]\nkeep = 0\n")
    options = ("--dataset", everything / "others", "--num-steps", 20, "--seed", 4, "--config", file, "--json")
    earlier = challenger(workspace)
    done = run_in_process("retrain", "--workspace", workspace, *options)
    assert done.code == 0, done.err
    assert done.json["deleted"] == [f"runs/{earlier}"]
    assert (workspace / "runs" / done.json["run_id"] / "run.json").exists()
    assert [entry.action for entry in load_history(workspace)][-2:] == ["retrain", "prune"]
    assert done.json["retention_failure"] is None
    again = run_in_process("retrain", "--workspace", workspace, *options)
    assert (again.code, again.json["outcome"], again.json["deleted"]) == (0, "unchanged", [])
    assert run_in_process("verify", workspace).code == 0


@pytest.mark.thorough
def test_a_decision_stands_if_a_damaged_record_of_another_run_keeps_retrain_from_deleting(
    everything, workspace, tmp_path
):
    (tmp_path / "backbeam.toml").write_text("[retention]\nkeep = 0\n")
    figures = tmp_path / "figures.prom"
    [record] = workspace.glob("runs/article-manual-seed2-*/run.json")
    sound = record.read_bytes()
    record.write_bytes(sound[:-9])
    options = ("--dataset", everything / "others", "--num-steps", 20, "--seed", 4, "--json")
    options += ("--config", tmp_path / "backbeam.toml", "--metrics-file", figures)
    lines = ("--log-format", "json", "--log-file", tmp_path / "log")
    done = run_in_process("retrain", "--workspace", workspace, *options, *lines)
    assert (done.code, done.json["outcome"], done.json["deleted"]) == (0, "kept", []), done.err
    assert [entry.action for entry in load_history(workspace)][-1] == "retrain"
    [event] = [json.loads(line) for line in done.err.splitlines() if "retention_failed" in line]
    assert (event["level"], event["code"], event["kind"]) == ("warning", 4, "CorruptArtefact")
    for text in (str(record), "the decision stands", "backbeam verify"):
        assert text in event["message"]
    assert done.json["retention_failure"].startswith(f"{record} is corrupt")
    assert re.search(r"^backbeam_retention_failed\{.*\} 1\.0$", figures.read_text(), re.MULTILINE)
    record.write_bytes(sound)
    again = run_in_process("retrain", "--workspace", workspace, *options)
    assert (again.code, again.json["outcome"], again.json["retention_failure"]) == (0, "unchanged", None)
    assert again.json["deleted"]
    assert re.search(r"^backbeam_retention_failed\{.*\} 0\.0$", figures.read_text(), re.MULTILINE)


def test_a_disk_that_refuses_ends_a_retraining_that_deletes_as_any_other_command(workspace, monkeypatch):
    def refuse(*_, **__):
        raise StorageFailed("full")

    monkeypatch.setattr(deletion, "_name_kept_by_retrain", lambda *_: {})
    monkeypatch.setattr(deletion, "prune", refuse)
    with pytest.raises(StorageFailed):
        deletion.prune_after_retrain(workspace, Retention(keep=0), MagicMock(), MagicMock())


def test_the_age_of_a_data_set_is_recorded_and_survives_a_copy(workspace, tmp_path):
    [folder] = workspace.glob("datasets/others-*")
    made = find_time_made(workspace, folder.name)
    copy = shutil.copytree(workspace, tmp_path / "copy", copy_function=shutil.copyfile)  # without times
    os.utime(copy / "datasets" / folder.name / "manifest.json", (0, 0))
    assert find_time_made(copy, folder.name) == made
    items = {item.name: item.when for item in list_usage(copy, Retention(keep=0))}
    assert items[f"datasets/{folder.name}"] == made


def test_the_age_of_a_data_set_of_an_earlier_version_is_that_of_its_manifest_until_it_is_recorded(
    everything, workspace
):
    [folder] = workspace.glob("datasets/others-*")
    path = origin_path(workspace, folder.name)
    path.write_bytes(load_origin(workspace, folder.name).model_copy(update={"made": None}).to_json())
    os.utime(folder / "manifest.json", (0, 0))
    assert find_time_made(workspace, folder.name) == "1970-01-01T00:00:00.000+00:00"
    preprocess = ("preprocess", everything / "others", "--workspace", workspace)
    assert run_in_process(*preprocess).code == 0
    os.utime(folder / "manifest.json")
    assert find_time_made(workspace, folder.name) == "1970-01-01T00:00:00.000+00:00"
    sound = path.read_bytes()
    for change in (lambda: path.write_bytes(sound[:-9]), path.unlink):
        change()
        assert find_time_made(workspace, folder.name) > "2026"
        deletion.prune(workspace, Retention(keep=0), dry_run=True)  # `verify` names the damage
    shutil.rmtree(folder)
    assert run_in_process(*preprocess).code == 0
    assert find_time_made(workspace, folder.name) > "2026"
