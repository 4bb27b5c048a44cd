import signal
import subprocess
import sys

import pytest

from pipeline.processes import start_child

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


@pytest.mark.parametrize("name", ["queue.py", "random.py", "pipeline.py", "model/__init__.py"])
def test_a_child_does_not_import_from_the_current_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("raise SystemExit('the wrong module')")
    script = "import queue, random, model.errors, pipeline.processes"
    done = start_child([sys.executable, "-c", script], stderr=subprocess.PIPE)
    assert done.communicate(timeout=60) == (None, b"")
    assert done.returncode == 0


def test_a_child_imports_modules_from_pythonpath(tmp_path, monkeypatch):
    (tmp_path / "my_slices.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = start_child([sys.executable, "-c", "import my_slices"])
    done.communicate(timeout=60)
    assert done.returncode == 0
