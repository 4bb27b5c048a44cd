"""The modules of the page without a browser: the tests in `scripts/`, by the test runner of Node.js."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.report.html import bundle_modules
from tests import shorten_scripts
from tests.shorten_scripts import ALL, ESBUILD, MINIFIED, MISSING, MODULES, shorten

MOST_BYTES = 60_000  # as docs/report.md says
SCRIPT_TESTS = Path(__file__).parent / "scripts"
NO_NODE = "needs Node.js 18 or later, whose test runner runs the tests in tests/pipeline/report/scripts"


@pytest.fixture(scope="module")
def node():
    found = shutil.which("node")
    if found is None or int(subprocess.check_output([found, "--version"], text=True)[1:].partition(".")[0]) < 18:
        pytest.skip(NO_NODE)
    return found


@pytest.mark.parametrize("name", sorted(path.name for path in SCRIPT_TESTS.glob("*.test.js")))
def test_the_tests_of_the_modules_pass(name, node, tmp_path):
    for script in ALL:
        shutil.copy(MODULES / script, tmp_path)
    (tmp_path / "package.json").write_text(json.dumps({"type": "module"}))  # .js files are modules then
    shutil.copy(SCRIPT_TESTS / name, tmp_path)
    done = subprocess.run([node, "--test", name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_modules_of_a_page_are_shortened_from_those_that_are_written():
    if not ESBUILD.exists():
        pytest.skip(f"comparing the short script with its modules {MISSING}")
    shortened = {name: shorten(name) for name in ALL}
    assert {path.name: path.read_text("utf-8") for path in MINIFIED.iterdir()} == shortened, "run make docs"


def test_the_script_of_all_pages_is_small():
    assert len(bundle_modules(ALL).encode()) <= MOST_BYTES


def test_a_module_that_is_no_script_leaves_the_shortened_ones_as_they_are(tmp_path, monkeypatch):
    def fail(name):
        raise subprocess.CalledProcessError(1, name)

    (tmp_path / "page.js").write_text("as it was")
    monkeypatch.setattr(shorten_scripts, "MINIFIED", tmp_path)
    monkeypatch.setattr(shorten_scripts, "ESBUILD", tmp_path)
    monkeypatch.setattr(shorten_scripts, "shorten", fail)
    with pytest.raises(subprocess.CalledProcessError):
        shorten_scripts.main()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["as it was"]


def test_the_shortened_modules_replace_those_before_and_no_others_stay(tmp_path, monkeypatch):
    (tmp_path / "of-a-module-that-is-gone.js").write_text("")
    monkeypatch.setattr(shorten_scripts, "MINIFIED", tmp_path)
    monkeypatch.setattr(shorten_scripts, "ESBUILD", tmp_path)
    monkeypatch.setattr(shorten_scripts, "shorten", lambda name: f"short {name}")
    shorten_scripts.main()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: f"short {name}" for name in ALL}
