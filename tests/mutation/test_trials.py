"""Trials in a process of their own: it forks, which this one may not, as TensorFlow may have started threads in it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.mutation import __main__ as mutation

ROOT = Path(__file__).parents[2]
KILLED = """
import os, tempfile
def test_it():
    print(tempfile.mkdtemp(), flush=True)
    os.kill(os.getpid(), 9)
"""
TRY = """
import sys, tempfile
from pathlib import Path
from tests.mutation.trials import Copies, Trial
scratch = Path(tempfile.mkdtemp())
(outcome,) = Copies(Path(sys.argv[1]), scratch, 1).run([Trial(None, ("test_it.py",))])
assert not outcome.passed
(left,) = scratch.iterdir()
print(str(left / "tmp") in outcome.log, (left / "tmp").exists())
"""


def test_a_killed_trial_leaves_no_temporary_files(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "test_it.py").write_text(KILLED)
    (tree / "pytest.ini").write_text("[pytest]\naddopts = -s\n")
    (tmp_path / "tmp").mkdir()
    variables = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp")}
    variables["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # which takes most of the time
    command = [sys.executable, "-c", TRY, tree]
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False"], done.stdout + done.stderr
    assert len(list((tmp_path / "tmp").iterdir())) == 1  # the copies


def test_cores_are_counted_on_every_system(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert mutation._num_cores() == 3
