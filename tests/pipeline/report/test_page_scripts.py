"""The modules of the page without a browser: the tests in `scripts/`, by the test runner of Node.js."""

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from pipeline.report.html import CURVE_SCRIPTS, INDEX_SCRIPTS, SCRIPTS

SCRIPT_TESTS = Path(__file__).parent / "scripts"
MISSING = "needs Node.js 18 or later, whose test runner runs the tests in tests/pipeline/report/scripts"


@pytest.fixture(scope="module")
def node():
    found = shutil.which("node")
    if found is None or int(subprocess.check_output([found, "--version"], text=True)[1:].partition(".")[0]) < 18:
        pytest.skip(MISSING)
    return found


@pytest.mark.parametrize("name", sorted(path.name for path in SCRIPT_TESTS.glob("*.test.js")))
def test_the_tests_of_the_modules_pass(name, node, tmp_path):
    for script in (*SCRIPTS, *CURVE_SCRIPTS, *INDEX_SCRIPTS):
        (tmp_path / script).write_bytes((files("pipeline.report") / "templates" / script).read_bytes())
    (tmp_path / "package.json").write_text(json.dumps({"type": "module"}))  # .js files are modules then
    shutil.copy(SCRIPT_TESTS / name, tmp_path)
    done = subprocess.run([node, "--test", name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
