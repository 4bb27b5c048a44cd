"""The server that workers are forked from, without Beam: each worker runs the code in its variable WORK."""

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from model.errors import EngineFailed
from pipeline import worker_server
from pipeline.worker_server import prepare_workers, start_worker

SERVER = """
import os, sys
from multiprocessing.connection import Connection
from pipeline.worker_server import _ForkServer
_ForkServer(Connection(int(sys.argv[1]))).serve()
exec(os.environ["WORK"])
"""


@pytest.fixture(autouse=True)
def servers(monkeypatch):
    """Begin without a server, and end those that a test starts."""
    monkeypatch.setattr(worker_server, "COMMAND", (sys.executable, "-c", SERVER))
    worker_server.close_server()
    yield worker_server._started
    worker_server.close_server()


def run(work):
    return start_worker({"WORK": work}).wait()


def test_a_worker_has_the_environment_the_folder_and_the_standard_error_of_its_driver(tmp_path, monkeypatch, capfd):
    prepare_workers()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTE", "set after the server has started")
    assert run("print(os.getcwd(), os.environ['NOTE'], file=sys.stderr)") == 0
    assert capfd.readouterr().err == f"{tmp_path} set after the server has started\n"


@pytest.mark.parametrize(
    ("work", "code"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("os.kill(os.getpid(), 9)", -9),
        ("os.fork() or os.read(0, 1)", 0),  # its own child lives on
    ],
)
@pytest.mark.parametrize("children", [signal.SIG_DFL, signal.SIG_IGN], ids=["", "children are ignored"])
def test_the_end_of_a_worker_is_reported(work, code, children):
    earlier = signal.signal(signal.SIGCHLD, children)  # which the server inherits if it is to ignore them
    try:
        prepare_workers()
    finally:
        signal.signal(signal.SIGCHLD, earlier)
    assert run(work) == code


def test_a_worker_is_killed():
    worker = start_worker({"WORK": "__import__('time').sleep(60)"})
    worker.kill()
    assert worker.wait() == -signal.SIGKILL


def test_threads_use_one_server(servers):
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, ["pass"] * 24)) == [0] * 24
    assert len(servers) == 1


def test_a_worker_is_not_started_in_a_folder_that_was_deleted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    with pytest.raises(FileNotFoundError):
        run("pass")
    monkeypatch.undo()


def test_workers_end_with_a_server_that_is_killed_and_the_next_has_another(servers):
    workers = [start_worker({"WORK": "__import__('time').sleep(60)"}) for _ in range(2)]
    [server] = servers
    codes = []
    threads = [threading.Thread(target=lambda worker=worker: codes.append(worker.wait())) for worker in workers]
    for thread in threads:
        thread.start()
    os.kill(server._process.pid, signal.SIGKILL)
    for thread in threads:
        thread.join(10)
    assert codes == [-signal.SIGKILL] * 2
    assert run("pass") == 0
    assert servers != [server]


def test_a_request_that_is_interrupted_does_not_disturb_the_next(monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    assert run("pass") == 0
    with monkeypatch.context() as context:
        context.setattr(worker_server, "send_handle", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run("pass")
    assert run("sys.exit(4)") == 4


def test_the_messages_of_a_server_that_ends_are_passed_on(monkeypatch, capfd):
    monkeypatch.setattr(worker_server, "COMMAND", (sys.executable, "-c", "import no_such_module"))
    with pytest.raises(EngineFailed, match="a worker process ended with code 1"):
        run("pass")
    assert "No module named 'no_such_module'" in capfd.readouterr().err
