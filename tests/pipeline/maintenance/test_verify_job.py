"""`verify` by workers finds what it finds in one process, in the same order and words, and changes nothing."""

import shutil

import pytest

from model.errors import EngineFailed, StorageFailed
from pipeline.maintenance import verify_job
from pipeline.maintenance.findings import ExpectedFile
from pipeline.maintenance.inventory import VerifyScope, take_inventory
from pipeline.maintenance.verify import check_in_order
from pipeline.maintenance.verify_job import check_by_workers, check_files, divide_files
from pipeline.preprocess import scan_runner
from pipeline.sources import scan_tasks
from pipeline.storage.records import FileInfo
from tests.damage import damage, find
from tests.helpers import contents, run_in_process

DAMAGED = {"shard": "delete", "parameters": "flip a bit", "evaluation table": "truncate", "seeds table": "delete"}


@pytest.fixture
def workspace(everything, tmp_path):
    """A workspace with faults of several kinds."""
    copy = shutil.copytree(everything / "ws", tmp_path / "ws")
    for kind, how in DAMAGED.items():
        damage(find(copy, kind), how)
    return copy


def list_expected(workspace):
    return [item for item in take_inventory(VerifyScope(workspace)) if isinstance(item, ExpectedFile)]


@pytest.mark.parametrize(
    "engine", [["--direct_runner_bundle_repeat=1"], ["--runner=BundleBasedDirectRunner"]], ids=lambda engine: engine[0]
)
def test_workers_find_what_one_process_finds(engine, workspace):
    files = list_expected(workspace)
    before = contents(workspace)
    assert check_by_workers(workspace, files, engine) == check_in_order(workspace, files)
    assert contents(workspace) == before


@pytest.mark.thorough
def test_command_prints_the_same_with_workers(workspace, monkeypatch):
    monkeypatch.setattr(scan_tasks, "MANY_BYTES", 0)
    before = contents(workspace)
    alone, shared = (run_in_process("verify", workspace, "--json", *workers) for workers in ((), ("--workers", 2)))
    assert alone.json["faults"]
    assert (shared.code, shared.json) == (alone.code, alone.json)
    assert shared.err.splitlines()[-1] == alone.err.splitlines()[-1]
    assert contents(workspace) == before
    refused = run_in_process("verify", workspace, "--workers", 2, "--", "--runner=FnApiRunner")
    assert refused.code == 2


def test_few_bytes_are_verified_without_workers(workspace, monkeypatch):
    monkeypatch.setattr(verify_job, "check_by_workers", None)
    assert run_in_process("verify", workspace, "--workers", 2).code == 4


def test_repair_lets_workers_verify(everything, tmp_path, monkeypatch):
    monkeypatch.setattr(scan_runner, "pays_workers", lambda arguments, num_bytes: True)
    copy = shutil.copytree(everything / "ws", tmp_path / "ws")
    damage(find(copy, "validation table"), "truncate")
    done = run_in_process("verify", copy, "--repair", "--json", "--", "--direct_runner_bundle_repeat=1")
    assert (done.code, len(done.json["repaired"]), done.json["sound"]) == (0, 1, True), done.err


def test_an_unreadable_file_is_an_error_of_storage(tmp_path, monkeypatch):
    def refuse(expected):
        raise PermissionError(13, "Permission denied", str(expected.path))

    monkeypatch.setattr(verify_job, "check_expected", refuse)
    info = FileInfo(name="x", num_bytes=1, sha256="0" * 64)
    with pytest.raises(StorageFailed, match=r"storage: .*Permission denied"):
        check_by_workers(tmp_path, [ExpectedFile("shard", "owner", tmp_path / "x", info)], [])


def test_an_engine_that_runs_nothing_or_a_part_is_an_error(workspace, monkeypatch):
    files = list_expected(workspace)
    with monkeypatch.context() as patch:
        patch.setattr(verify_job, "run_pipeline", lambda *arguments: None)
        with pytest.raises(EngineFailed, match=r"wrote no .*result\.json"):
            check_by_workers(workspace, files, [])
    monkeypatch.setattr(verify_job, "read_result", lambda scratch: [1, []])
    with pytest.raises(EngineFailed, match=f"checked 1 of {len(files)} files"):
        check_by_workers(workspace, files, [])


def test_files_are_divided_evenly_into_a_bounded_number_of_tasks(workspace, monkeypatch):
    files = list_expected(workspace)
    assert divide_files([]) == []
    assert divide_files(files) == [(position, [file]) for position, file in enumerate(files)]
    monkeypatch.setattr(verify_job, "MAX_TASKS", 4)
    tasks = divide_files(files)
    assert len(tasks) <= 4
    assert [file for _, part in tasks for file in part] == files
    assert [first for first, _ in tasks] == [position * len(tasks[0][1]) for position in range(len(tasks))]
    found = [fault[0] for first, part in tasks for fault in check_files(first, part).faults]
    checked = check_in_order(workspace, files)
    assert found == [position for position, item in enumerate(checked) if hasattr(item, "kind")]
