"""The check that no test leaves a file behind, in sessions of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEST = """
import tempfile
from pathlib import Path
def test_of_a_session(tmp_path):
    (tmp_path / "kept").touch()
    with tempfile.NamedTemporaryFile():
        {body}
"""


@pytest.mark.parametrize(
    ("body", "options", "code"),
    [
        ("pass", (), 0),
        ("Path(tempfile.gettempdir(), '__autograph_generated_file0123.py').touch()", (), 0),
        ("Path(tempfile.gettempdir(), 'left-').touch()", (), 1),
        ("Path(tempfile.gettempdir(), 'left-__autograph_generated_file0123.py').touch()", (), 1),
        ("tempfile.mkdtemp(prefix='left-')", ("-p", "xdist.plugin", "-n", "1"), 1),
    ],
    ids=["nothing", "TensorFlow's file", "a file", "a file of a similar name", "a folder, by a worker of pytest-xdist"],
)
def test_a_session_fails_whose_tests_leave_files(body, options, code, tmp_path):
    (tmp_path / "test_it.py").write_text(TEST.format(body=body))
    (tmp_path / "temporary").mkdir()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.temporary_files", "-c", os.devnull, *options]
    variables = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "temporary")}
    variables["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # which takes most of the time
    variables.pop("PYTEST_DEBUG_TEMPROOT", None)
    done = subprocess.run([*command, tmp_path], env=variables, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    assert ("tests left 1 files and folders in the temporary folder: left-" in done.stderr) == bool(code)
    (kept,) = (tmp_path / "temporary").iterdir()
    assert kept.name.startswith("pytest-of-")
