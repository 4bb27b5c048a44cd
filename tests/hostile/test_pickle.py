"""Nothing is unpickled or executed: neither in the source code, nor by commands that read a workspace."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "yaml", "joblib", "torch"}
FUNCTIONS = {"eval", "exec", "compile", "__import__"}
AUDITED_MAIN = """
import sys
from pipeline.cli.main import main

def report(event, arguments):
    if event == "pickle.find_class":
        print("unpickled:", *arguments, file=sys.stderr)

sys.addaudithook(report)
main()
"""


def find_unsafe_names(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name.split(".")[0] in MODULES]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
            found.append(node.func.id)
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            found.append(node.arg)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in (
            "np.load",
            "numpy.load",
            "keras.models.load_model",
        ):
            found.append(ast.unparse(node))
    return found


def test_no_source_file_unpickles_or_executes():
    """Only slicings are imported by name, and only if the user names them."""
    files = [path for folder in ("model", "pipeline") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    assert {str(path.relative_to(ROOT)): found for path in files if (found := find_unsafe_names(path))} == {}
    importers = [path.name for path in files if "import_module(" in path.read_text()]
    assert importers == ["slice_config.py"]


def test_unsafe_names_are_found_in_source_code(tmp_path):
    text = "import pickle\nfrom dill import loads\nimport numpy as np\nnp.load(x, allow_pickle=True)\neval(x)\n"
    (tmp_path / "bad.py").write_text(text)
    assert sorted(find_unsafe_names(tmp_path / "bad.py")) == ["allow_pickle", "dill", "eval", "np.load", "pickle"]


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "digits/t10k-images-idx3-ubyte", "--run", "article-manual-seed1"),
        ("report", "article-manual-seed1", "--to", "page.html"),
        ("verify",),
        ("show", "article-manual-seed1"),
        ("runs",),
        ("compare", "article-manual-seed1", "article-manual-seed2"),
        ("export", "article-manual-seed1", "--to", "out"),
        ("inspect", "digits", "--to", "sheets"),
    ],
    ids=lambda command: command[0],
)
def test_no_command_that_reads_a_workspace_unpickles(command, everything, tmp_path):
    arguments = [str(everything / word) if word.startswith("digits/") else word for word in command]
    line = [sys.executable, "-c", AUDITED_MAIN, *arguments, "--workspace", str(everything / "ws")]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "unpickled:" not in done.stderr
