"""Several processes in one workspace."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from pipeline.maintenance.verify import find_scope, verify
from pipeline.storage import local_disk
from pipeline.storage.lock import lock_workspace
from tests.helpers import BACKBEAM, run_in_process

STAGES = ["preprocess", "validate", "train", "evaluate"]
HOLD = """
import sys
from pipeline.storage import local_disk
from pipeline.storage.lock import lock_workspace
from pathlib import Path
with lock_workspace(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def start(*arguments):
    command = [BACKBEAM, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_eight_processes_at_once_do_the_work_once(tmp_path, digits_folder):
    options = ("--workspace", tmp_path / "ws", "--dataset", digits_folder, "--num-steps", 20, "--json")
    running = [start("run", *options, "--wait", 500) for _ in range(8)]
    ended = [(*process.communicate(timeout=550), process.returncode) for process in running]
    assert [code for _, _, code in ended] == [0] * 8, [err for _, err, _ in ended]
    results = [json.loads(out) for out, _, _ in ended]
    assert sorted(result["skipped"] for result in results) == [[], *[STAGES] * 7]
    assert len({json.dumps([result["run_id"], result["test"], result["finished"]]) for result in results}) == 1
    result = verify(find_scope(tmp_path / "ws"))
    assert (result.faults, result.leftovers) == ((), ())


def test_a_waiting_process_continues_when_the_holder_ends(tmp_path, digits_folder):
    with lock_workspace(tmp_path / "ws"):
        waiting = start("preprocess", "--workspace", tmp_path / "ws", "--dataset", digits_folder, "--wait", 300)
        line = waiting.stderr.readline()
        assert f"is in use by process {os.getpid()}" in line
        assert "waiting for up to 300 s" in line
        assert waiting.poll() is None
    out, err = waiting.communicate(timeout=300)
    assert (waiting.returncode, "digits-" in out) == (0, True), err


@pytest.mark.parametrize("command", ["run", "preprocess", "validate", "train", "evaluate", "verify"])
def test_a_locked_workspace_is_refused_or_skipped(command, tmp_path):
    options = ("--workspace", tmp_path / "ws")
    (tmp_path / "ws" / "datasets").mkdir(parents=True)
    with lock_workspace(tmp_path / "ws"):
        refused = run_in_process(command, *options, "--wait", 0.2)
        skipped, as_json = (
            run_in_process(command, *options, "--if-locked", "skip", *more) for more in ((), ["--json"])
        )
    holder = f"in use by process {os.getpid()}"
    assert (refused.code, refused.out, holder in refused.err) == (6, "", True)
    assert (skipped.code, skipped.out.count("\n"), holder in skipped.out) == (0, 1, True)
    assert (as_json.code, holder in as_json.json["nothing_run"]) == (0, True)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_user_who_may_only_read_is_told_so_and_verifies_without_the_lock(code, tmp_path, monkeypatch):
    def refuse(operation, path):
        if operation == "lock":
            raise OSError(code, os.strerror(code), str(path))

    workspace = tmp_path / "ws"
    (workspace / "datasets").mkdir(parents=True)
    monkeypatch.setattr(local_disk, "hook", refuse)
    refused = run_in_process("prune", "--keep", 0, "--workspace", workspace)
    reason = (
        f"cannot lock {workspace / '.lock'}: {os.strerror(code)}; what was complete is kept: the command writes there"
    )
    assert (refused.code, refused.out, reason in refused.err) == (5, "", True), refused.err
    verified = run_in_process("verify", workspace)
    assert (verified.code, "is not locked, because this user may only read it" in verified.err) == (0, True)


def test_a_disk_that_cannot_lock_ends_verify_too(tmp_path, monkeypatch):
    def refuse(operation, path):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    workspace = tmp_path / "ws"
    (workspace / "datasets").mkdir(parents=True)
    monkeypatch.setattr(local_disk, "hook", refuse)
    assert run_in_process("verify", workspace).code == 5


def test_a_lock_frees_itself_when_its_holder_is_killed(tmp_path, digits_folder):
    command = [sys.executable, "-c", HOLD, tmp_path / "ws"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        options = ("--workspace", tmp_path / "ws", "--dataset", digits_folder)
        ended = run_in_process("preprocess", *options)
        assert ended.code == 6
        assert f"process {holder.pid} " in ended.err
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert run_in_process("preprocess", *options).code == 0
