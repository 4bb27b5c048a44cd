import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from model.errors import EngineFailed
from pipeline import worker_server
from pipeline.beam_runner import add_workers, run_pipeline
from pipeline.context import capture_engine_messages
from pipeline.processes import SameCode, code_digest
from pipeline.storage.workspace import temporary_files_in

PS = shutil.which("ps") or "/bin/ps"
TWO_WORKERS = add_workers((), 2)
DRIVER = """
import sys
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
import slow_work
from pipeline.beam_runner import run_pipeline
run_pipeline(beam, PipelineOptions, sys.argv[1:], lambda p: p | beam.Create([1, 2]) | beam.Map(slow_work.work))
"""
SLOW_WORK = """
import os, pathlib, time
def work(_):
    pathlib.Path(__file__).with_name("began").touch()
    time.sleep(300)
"""


def run_job(folder: Path) -> None:
    with temporary_files_in(folder), capture_engine_messages(folder / "engine.log"):
        run_pipeline(beam, PipelineOptions, TWO_WORKERS, lambda p: p | beam.Create([1]) | beam.Map(SameCode(abs)))


@pytest.fixture
def use_server(monkeypatch):
    """Return a function that has workers forked by a server of their own, which another command may start."""

    def use(*command):
        if command:
            monkeypatch.setattr(worker_server, "COMMAND", command)

    worker_server.close_server()
    yield use
    worker_server.close_server()


def run_in_workers(folder: Path, code: str, *names: str) -> None:
    """Run a job that has two workers execute code for each name, with the folder's path as `folder`."""

    def work(name: str) -> None:
        exec(code, {"folder": folder, "name": name})  # noqa: S102

    with temporary_files_in(folder), capture_engine_messages(folder / "engine.log"):
        run_pipeline(
            beam, PipelineOptions, TWO_WORKERS, lambda p: p | beam.Create(names) | beam.Reshuffle() | beam.Map(work)
        )


def descendants(pid: int) -> list[int]:
    listed = subprocess.run([PS, "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    children = [child for child, parent in pairs if parent == pid]
    return children + [descendant for child in children for descendant in descendants(child)]


def is_alive(pid: int) -> bool:
    state = subprocess.run([PS, "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return bool(state) and not state.startswith("Z")


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("sys.exit('no such thing')", "ended with code 1"),
        ("os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
        ("os.kill(os.getpid(), 40)", "was killed by signal 40"),
    ],
    ids=["exits", "killed", "killed by a signal without a name"],
)
def test_a_worker_that_ends_before_it_connects_fails_the_job(ending, message, tmp_path, use_server):
    script = f"import os, sys; print('from the worker', file=sys.stderr, flush=True); {ending}"
    use_server(sys.executable, "-S", "-c", script)
    started = time.monotonic()
    with pytest.raises(EngineFailed, match=f"the engine failed: a worker process {message}.*engine.log"):
        run_job(tmp_path)
    assert time.monotonic() - started < 15
    assert "from the worker" in (tmp_path / "engine.log").read_text()


def test_a_worker_that_cannot_be_started_fails_the_job(tmp_path, use_server, caplog):
    use_server(str(tmp_path / "missing"))
    with pytest.raises(EngineFailed, match="No such file or directory"):
        run_job(tmp_path)
    assert "Error closing" not in caplog.text  # Beam logs what stop_worker raises


NOTE_PROCESS = """
import json, os, tempfile
note = [os.getppid(), os.getcwd(), tempfile.gettempdir(), os.environ["BACKBEAM_NOTE"]]
(folder / name).write_text(json.dumps(note))
"""


@pytest.mark.thorough  # a server imports Beam
def test_workers_are_forked_by_one_server_and_have_the_drivers_environment_of_the_job(
    tmp_path, monkeypatch, use_server
):
    servers = set[int]()
    for job in ("first", "second"):
        folder = tmp_path / job
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("BACKBEAM_NOTE", job)
        run_in_workers(folder, NOTE_PROCESS, "note")
        server, current_folder, temporary_folder, note = json.loads((folder / "note").read_text())
        assert (current_folder, note) == (str(folder), job)
        assert Path(temporary_folder).is_relative_to(folder)
        servers.add(server)
    assert len(servers) == 1
    assert servers <= {*descendants(os.getpid())}


@pytest.mark.thorough  # a server imports Beam
def test_a_worker_that_is_killed_at_work_fails_the_job_and_the_next_has_a_new_one(tmp_path, use_server):
    with pytest.raises(EngineFailed, match="the engine failed: "):
        run_in_workers(tmp_path, "import os; os.kill(os.getpid(), 9)", "a")
    run_in_workers(tmp_path, "(folder / name).touch()", "note")
    assert (tmp_path / "note").exists()


@pytest.mark.thorough  # two workers import Beam
def test_where_forking_is_not_safe_each_worker_is_a_process_of_its_own(tmp_path, monkeypatch, use_server):
    monkeypatch.setattr(worker_server, "FORKS", False)
    run_in_workers(tmp_path, "import os; (folder / name).write_text(str(os.getppid()))", *map(str, range(20)))
    assert {path.read_text() for path in tmp_path.glob("[0-9]*")} == {str(os.getpid())}


@pytest.mark.slow  # a worker imports Beam
def test_a_worker_with_other_code_than_its_driver_fails_the_job(tmp_path, use_server):
    script = (
        "import runpy; from pipeline import processes; processes.code_digest = lambda: 'f' * 64; "
        "runpy.run_module('pipeline.worker_server', run_name='__main__')"
    )
    use_server(sys.executable, "-c", script)
    own = f"backbeam {version('backbeam')} (code digest"
    expected = (
        rf"a worker runs {re.escape(own)} ffffffffffff\) from .*, the driver {re.escape(own)} {code_digest()[:12]}"
    )
    with pytest.raises(EngineFailed, match=expected):
        run_job(tmp_path)


@pytest.mark.slow  # three processes import Beam
@pytest.mark.parametrize("phase", ["start", "work"])
def test_workers_end_when_their_driver_is_killed(phase, tmp_path):
    """Beam's own worker would wait for its driver for minutes while it starts."""
    (tmp_path / "slow_work.py").write_text(SLOW_WORK)
    began = tmp_path / "began"
    command = [sys.executable, "-c", DRIVER, *TWO_WORKERS]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(tmp_path), "TMPDIR": str(tmp_path)}) as driver:
        while len(workers := descendants(driver.pid)) < 2 or not (phase == "start" or began.exists()):
            assert driver.poll() is None
            time.sleep(0.1)
        driver.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(map(is_alive, workers)):
        assert time.monotonic() < deadline, workers
        time.sleep(0.1)
