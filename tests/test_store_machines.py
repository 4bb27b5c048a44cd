"""Several machines that share a workspace in a store: processes with separate cache folders."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.helpers import BACKBEAM, Digits

pytestmark = pytest.mark.thorough

STAGES = ["preprocess", "validate", "train", "evaluate"]
LEASE = """
import sys
from pipeline.storage import lease
lease.LEASE_SECONDS = float(sys.argv.pop(1))
"""
COMMAND = f"{LEASE}from pipeline.cli.main import main\nmain()"
HOLD = f"""{LEASE}
from pipeline.storage.lock import lock_workspace
from pipeline.storage.places import place_of
with lock_workspace(place_of(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return Digits(num_train=433).write(tmp_path_factory.mktemp("source") / "digits")


@pytest.fixture
def start(store, tmp_path):
    """Start commands as if on separate machines; lease shortens the lease, in seconds, so that it can be taken over."""
    running = []

    def start_command(machine, *arguments, lease=None, code=COMMAND):
        command = [BACKBEAM] if lease is None else [sys.executable, "-c", code, lease]
        environment = os.environ | store.environment | {"BACKBEAM_CACHE_DIR": str(tmp_path / machine)}
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        running.append(subprocess.Popen(list(map(str, [*command, *arguments])), text=True, env=environment, **pipes))
        return running[-1]

    yield start_command
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process):
    out, err = process.communicate(timeout=500)
    assert "Traceback" not in err
    return process.returncode, out, err


def hold(start, workspace, lease):
    holder = start("holder", workspace, lease=lease, code=HOLD)
    assert holder.stdout.readline() == "held\n", holder.stderr.read()
    return holder


def assert_sound(start, workspace_options):
    code, out, err = finish(start("auditor", "verify", *workspace_options, "--json"))
    assert code == 0, err
    assert json.loads(out)["sound"]


def test_other_machines_name_the_holder_and_wait_for_its_release(start, store, tmp_path):
    workspace = store.uri(tmp_path.name)
    store.put(f"{tmp_path.name}/datasets/x", b"x")
    holder = hold(start, workspace, 60)
    refused, skipped = (
        start(f"other{number}", "verify", "--workspace", workspace, *more)
        for number, more in enumerate([(), ("--if-locked", "skip", "--json")])
    )
    code, out, err = finish(refused)
    assert (code, out) == (6, "")
    assert f"{workspace} is in use by process {holder.pid} " in err
    code, out, _ = finish(skipped)
    assert code == 0
    assert f"in use by process {holder.pid} " in json.loads(out)["nothing_run"]
    waiting = start("waiting", "verify", "--workspace", workspace, "--wait", 300)
    assert f"is in use by process {holder.pid} " in waiting.stderr.readline()
    assert finish(holder)[0] == 0  # standard input is closed
    code, _, err = finish(waiting)
    assert code == 0, err
    assert json.loads(store.get(f"{tmp_path.name}/.lock"))["is_free"]


@pytest.mark.slow
def test_many_machines_at_once_do_the_work_once(start, store, digits, tmp_path):
    """The first holder is killed; the others wait until its lease expires."""
    place = ("--workspace", store.uri(tmp_path.name))
    holder = hold(start, place[1], 5)
    options = (*place, "--dataset", digits, "--num-steps", 20, "--json", "--wait", 500)
    running = [start(f"machine{number}", "run", *options) for number in range(5)]
    assert all(f"in use by process {holder.pid} " in process.stderr.readline() for process in running)
    holder.send_signal(signal.SIGKILL)
    ended = [finish(process) for process in running]
    assert [code for code, _, _ in ended] == [0] * 5, [err for _, _, err in ended]
    results = [json.loads(out) for _, out, _ in ended]
    assert sorted(result["skipped"] for result in results) == [[], *[STAGES] * 4]
    assert len({json.dumps([result["run_id"], result["test"], result["finished"]]) for result in results}) == 1
    assert_sound(start, place)


@pytest.mark.slow
def test_a_machine_that_resumes_after_losing_its_lease_changes_nothing(start, store, digits, tmp_path):
    place = ("--workspace", store.uri(tmp_path.name))
    assert finish(start("frozen", "preprocess", *place, "--dataset", digits))[0] == 0
    options = ("train", *place, "--num-steps", 80_000, "--checkpoint-every", 5_000)
    frozen = start("frozen", *options, lease=10)
    for line in frozen.stderr:
        if "step  12000:" in line:
            break
    frozen.send_signal(signal.SIGSTOP)
    code, _, err = finish(start("other", *options, "--wait", 300))
    assert code == 0, err
    assert f"is in use by process {frozen.pid} " in err
    assert "continuing from the checkpoint of step 10000" in err
    before = store.contents(tmp_path.name)
    frozen.send_signal(signal.SIGCONT)
    code, _, err = finish(frozen)
    assert code == 6, err
    assert f"the lock {place[1]}/.lock" in err
    assert store.contents(tmp_path.name) == before
    assert_sound(start, place)
