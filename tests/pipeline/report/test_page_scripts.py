"""The modules of the page without a browser: the tests in `scripts/`, by the test runner of Node.js."""

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from pipeline.report.html import CURVE_SCRIPTS, INDEX_SCRIPTS, SCRIPTS, bundle_modules, join_modules

ALL = tuple(dict.fromkeys((*SCRIPTS, *CURVE_SCRIPTS, *INDEX_SCRIPTS)))
# acorn, the parser of Node.js itself; where a token stands in the text does not matter
SAME_SYNTAX = """
const { parse } = require("internal/deps/acorn/acorn/dist/acorn");
const { readFileSync } = require("node:fs");
const leaveOut = (key, value) => (["start", "end"].includes(key) ? undefined : value);
const [one, other] = process.argv.slice(2).map((name) => {
  return JSON.stringify(parse(readFileSync(name, "utf-8"), { ecmaVersion: "latest" }), leaveOut).match(/.{1,200}/gs);
});
const at = one.findIndex((part, i) => part !== other[i]);
if (at !== -1 || one.length !== other.length) throw new Error(`${one[at]}\n${other[at]}`);
"""
MOST_BYTES = 78_000  # as docs/report.md says
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
    for script in ALL:
        (tmp_path / script).write_bytes((files("pipeline.report") / "templates" / script).read_bytes())
    (tmp_path / "package.json").write_text(json.dumps({"type": "module"}))  # .js files are modules then
    shutil.copy(SCRIPT_TESTS / name, tmp_path)
    done = subprocess.run([node, "--test", name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_script_of_a_page_has_the_syntax_of_its_modules(node, tmp_path):
    (tmp_path / "modules.js").write_text(join_modules(ALL), "utf-8")
    (tmp_path / "page.js").write_text(bundle_modules(ALL), "utf-8")
    (tmp_path / "compare.js").write_text(SAME_SYNTAX)
    command = [node, "--expose-internals", "compare.js", "modules.js", "page.js"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_script_of_a_page_is_small():
    of_a_run = tuple(dict.fromkeys((*SCRIPTS, *CURVE_SCRIPTS)))
    assert len(bundle_modules(of_a_run).encode()) <= MOST_BYTES
