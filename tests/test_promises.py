"""docs/promises.md and SECURITY.md: the tests that they name are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_NAMED = re.compile(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`")


def proofs(page: str) -> list[tuple[Path, str]]:
    """Every file that a page names in a table, and the function in it, if one is named."""
    found, file = [], ""
    for line in (ROOT / page).read_text().splitlines():
        for named, function in _NAMED.findall(line) if line.startswith("|") else []:
            file = named or file
            if named or function:
                found.append((ROOT / file, function))
    return found


@pytest.mark.parametrize("page", ["docs/promises.md", "SECURITY.md"])
def test_the_proofs_are_there(page):
    named = proofs(page)
    assert len(named) > 8
    for path, function in named:
        assert path.is_file(), path
        names = {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}
        assert any(name.startswith("test_") for name in names), path
        assert not function or function in names, (path, function)


def test_every_named_function_can_be_read():
    """A name that `proofs` does not match would not be checked."""
    for line in (ROOT / "docs" / "promises.md").read_text().splitlines():
        assert all(_NAMED.fullmatch(f"`{code}`") for code in re.findall(r"`([^`]*::[^`]*)`", line)), line


def test_a_proof_that_make_test_leaves_out_says_so():
    for line in (ROOT / "docs" / "promises.md").read_text().splitlines():
        file = ""
        for path, function, note in re.findall(r"`(tests/[\w/]+\.py)?::(\w+)`( \([\w, `-]+\))?", line):
            file = path or file
            marks = re.findall(rf"((?:^@.*\n)+)def {function}\(", (ROOT / file).read_text(), re.MULTILINE)
            for mark in ("thorough", "slow"):
                assert (f"mark.{mark}\n" in "".join(marks)) == (mark in note), (file, function)


def test_every_promise_has_a_proof():
    lines = (ROOT / "docs" / "promises.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and line != "| promise | proof |"]
    assert len(rows) > 25
    assert [row for row in rows if "`tests/" not in row] == []
