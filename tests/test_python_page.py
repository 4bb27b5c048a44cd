"""docs/python.md, the section of the README and the notebook do what they say, in a workspace with two runs."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.helpers import BACKBEAM

ROOT = Path(__file__).parents[1]
NOTEBOOK = json.loads((ROOT / "docs" / "article.ipynb").read_text())


@pytest.fixture
def beside_workspace(two_runs, tmp_path, monkeypatch):
    """The current folder has a copy of the workspace of two runs, `backbeam-workspace`."""
    shutil.copytree(two_runs, tmp_path / "backbeam-workspace")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{BACKBEAM.parent}{os.pathsep}{os.environ['PATH']}")


def execute(blocks, name):
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"block {number + 1} of {name}", "exec"), names)  # noqa: S102 - our own page
    return names


def python_blocks(text):
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.thorough
def test_blocks_of_the_page(beside_workspace, capfd):
    names = execute(python_blocks((ROOT / "docs" / "python.md").read_text()), "docs/python.md")
    printed = capfd.readouterr()
    assert "run: no such argument: 'lr' (did you mean 'learning_rate' or" in printed.out
    assert "train: already done, checking" in printed.err  # of the call with verbose=True
    assert names["found"].labels.shape == (1000,)
    assert names["confusion"].num_rows == 200
    assert len(list(Path.cwd().glob("backbeam-workspace/datasets/mnist-5k-*/train-00000-of-00003.tfrecord"))) == 1


@pytest.mark.thorough
def test_cells_of_the_notebook(beside_workspace, capsys):
    cells = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    names = execute(cells, "docs/article.ipynb")
    assert names["test"].num_examples == 1000
    assert "times" in capsys.readouterr().out


def test_notebook_is_committed_without_outputs():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    code = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert all((cell["outputs"], cell["execution_count"]) == ([], None) for cell in code)


@pytest.mark.slow
def test_section_of_the_readme(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    section = (ROOT / "README.md").read_text().split("## From Python\n")[1].split("\n## ")[0]
    execute(python_blocks(section), "README.md")
    assert float(capsys.readouterr().out) > 0.85
