import os
import pickle
import signal
import subprocess
import sys
import threading

import pytest
from apache_beam.internal import pickler

from model.errors import EngineFailed, StorageFailed
from pipeline import processes
from pipeline.processes import CodeIdentity, SameCode, code_identity, run_interruptible, start_child

CHILD = """
import signal, sys, time
from pipeline.processes import end_with_parent
signal.signal(signal.SIGTERM, {on_sigterm})
end_with_parent({grace})
print("ready", flush=True)
time.sleep(20)
print("still here")
"""
PARENT = """
import sys, time
from pipeline.processes import start_child
child = start_child([sys.executable, "-c", sys.argv[1]])
time.sleep(300)
"""


@pytest.mark.parametrize(
    ("on_sigterm", "grace"),
    [("signal.SIG_DFL", 300), ("signal.SIG_IGN", 0), ("lambda *_: sys.exit(1)", 300)],
    ids=["default", "ignored", "handled"],
)
def test_a_child_ends_when_its_parent_is_killed(on_sigterm, grace):
    child = CHILD.format(on_sigterm=on_sigterm, grace=grace)
    with subprocess.Popen([sys.executable, "-c", PARENT, child], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        parent.send_signal(signal.SIGKILL)
        assert parent.stdout.read() == ""  # ends when neither process has the pipe open


def test_a_child_imports_modules_from_pythonpath_and_not_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "my_slices.py").write_text("")
    for name in ("queue.py", "random.py", "pipeline.py", "model/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    script = "import queue, random, model.errors, pipeline.processes, my_slices"
    done = start_child([sys.executable, "-c", script], stderr=subprocess.PIPE)
    assert done.communicate(timeout=60) == (None, b"")
    assert done.returncode == 0


@pytest.mark.parametrize("is_write", [True, False])
def test_a_write_that_a_signal_interrupts_is_waited_for_and_a_read_is_not(is_write, monkeypatch):
    monkeypatch.setattr(processes, "ENDING_SECONDS", None)
    may_end = threading.Event()
    ended = threading.Event()

    def work():
        os.kill(os.getpid(), signal.SIGALRM)
        may_end.wait()
        ended.set()

    def exit_on_signal(*_):
        if is_write:
            threading.Timer(0.1, may_end.set).start()
        raise SystemExit(143)

    before = signal.signal(signal.SIGALRM, exit_on_signal)
    with pytest.raises(SystemExit):
        run_interruptible(work, is_write)
    signal.signal(signal.SIGALRM, before)
    assert ended.is_set() == is_write
    may_end.set()


def test_after_a_signal_only_what_is_needed_is_waited_for_to_its_end(monkeypatch):
    monkeypatch.setattr(processes, "ENDING_SECONDS", 0.01)
    answer = threading.Event()
    timer = threading.Timer(0.1, answer.set)
    monkeypatch.setattr(processes._state, "received", [signal.SIGTERM])
    with pytest.raises(StorageFailed, match=r"no answer within 0\.01 s"):
        run_interruptible(answer.wait)
    timer.start()
    assert run_interruptible(answer.wait, is_needed=True)


def multiply(value: int, factor: int = 1) -> int:
    return value * factor


@pytest.mark.parametrize(("dumps", "loads"), [(pickle.dumps, pickle.loads), (pickler.dumps, pickler.loads)])
def test_the_same_code_calls_the_function(dumps, loads):
    assert loads(dumps(SameCode(multiply, factor=3)))(5) == 15


def read_file(path):
    return path.read_bytes()


def read_lines(path):
    yield b"first"
    yield from path.open("rb")


@pytest.mark.parametrize("function", [read_file, read_lines])
def test_a_file_that_cannot_be_read_is_an_error_of_storage(function, tmp_path):
    with pytest.raises(StorageFailed, match=r"^storage: .*Is a directory: '.*'$"):
        list(SameCode(function)(tmp_path))


@pytest.mark.parametrize(("name", "replacement"), [("code_digest", lambda: "f" * 64), ("version", lambda _: "9.9")])
def test_unpickling_with_other_code_fails_and_names_both_versions(name, replacement, monkeypatch):
    pickled = pickle.dumps(SameCode(multiply))
    own = code_identity()
    monkeypatch.setattr(processes, name, replacement)
    monkeypatch.setattr(processes, "code_identity", code_identity.__wrapped__)
    with pytest.raises(EngineFailed) as raised:
        pickle.loads(pickled)  # noqa: S301
    assert str(own) in str(raised.value)
    assert str(code_identity()) in str(raised.value)


def test_the_code_is_compared_before_the_function_is_looked_up(monkeypatch):
    pickled = pickle.dumps(SameCode(multiply)).replace(b"multiply", b"multiple")  # a name that the module lacks
    with pytest.raises(AttributeError):
        pickle.loads(pickled)  # noqa: S301
    monkeypatch.setattr(processes, "code_identity", lambda: CodeIdentity("9.9", "f" * 64))
    with pytest.raises(EngineFailed, match=r"a worker runs backbeam 9\.9"):
        pickle.loads(pickled)  # noqa: S301
