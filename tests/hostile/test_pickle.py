"""Nothing is unpickled by commands that read a workspace; that no source file does it, ruff's rules S check."""

import sys

import pytest

from tests.helpers import run_in_process


@pytest.fixture
def unpickled():
    """The classes and functions that were looked up to unpickle something since the test began."""
    is_over = []
    found = []

    def listen(event, arguments):
        if event == "pickle.find_class" and not is_over:
            found.append(arguments)

    sys.addaudithook(listen)  # it cannot be removed
    yield found
    is_over.append(True)


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
def test_no_command_that_reads_a_workspace_unpickles(command, everything, tmp_path, monkeypatch, unpickled):
    monkeypatch.chdir(tmp_path)
    arguments = [everything / word if word.startswith("digits/") else word for word in command]
    done = run_in_process(*arguments, "--workspace", everything / "ws")
    assert done.code == 0, done.err
    assert unpickled == []
