"""Nothing is unpickled by commands that read a workspace; that no source file does it, ruff's rules S check."""

import os
import subprocess
import sys

import pytest

AUDITED_MAIN = """
import sys
from pipeline.cli.main import main

def report(event, arguments):
    if event == "pickle.find_class":
        print("unpickled:", *arguments, file=sys.stderr)

sys.addaudithook(report)
main()
"""


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
