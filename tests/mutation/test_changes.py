import ast
import tomllib

import pytest

from tests.mutation.__main__ import EQUIVALENT, ROOT
from tests.mutation.changes import find_changes
from tests.mutation.sources import GOLDEN, SOURCES, find_tests

KEY = ("file", "function", "before", "after")


def changed(source):
    return [change.after for change in find_changes("x.py", source.encode())]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["a <= b"]),
        ("a == b is not c", ["a != b is not c", "a == b is c"]),
        ("(a) not in (b)", ["(a) in (b)"]),
        ("a + b * c", ["a - b * c", "a + b / c"]),
        ("a += b", ["a -= b"]),
        ("a and b and c", ["a or b and c", "a and b or c"]),
        ("not a", [" a"]),
        ("-a", ["a"]),
        ("x = 2", ["x = 3"]),
        ("x = True", ["x = False"]),
        ("x = any(y)", ["x = all(y)"]),
        ("x = max(y)", ["x = min(y)"]),
        ("x = f(a, b=c)", ["x = f(a, )"]),
        ("x = f(b=c, d=e)", ["x = f(d=e)", "x = f(b=c, )"]),
        ("x = zip(a, b, strict=True)", []),
        ("f(a)", ["pass"]),
        ("raise ValueError(1 + 2)", ["pass"]),
        ("x = a if b else c", ["x = a if not (b) else c"]),
        ("x = [a for a in b if a > c]", ["x = [a for a in b if not (a > c)]", "x = [a for a in b if a >= c]"]),
        ("x = f'{a + 1}'", []),
        ("x = 'text' + a + b", []),
        ("x: int | None = 5", ["x: int | None = 6"]),
        ("x: Annotated[int, Field(gt=0)]", ["x: Annotated[int, Field()]", "x: Annotated[int, Field(gt=1)]"]),
        ("X: TypeAlias = tuple[int, 3]", []),
        ("'''docstring'''", []),
    ],
)
def test_the_changes_of_a_line(source, expected):
    assert [each.strip() for each in changed(source)] == [each.strip() for each in expected]


def test_conditions_loops_and_returns():
    source = "def f(x=1):\n    while x:\n        if x == y:\n            break\n        continue\n    return x\n"
    found = find_changes("x.py", source.encode())
    assert [(each.line, each.after) for each in found] == [
        *((1, "def f(x=2):"), (2, "while not (x):"), (3, "if x != y:")),
        *((4, "continue"), (5, "break"), (6, "return None")),
    ]
    assert {each.function for each in found} == {"f"}
    assert found[2].before == "if x == y:"
    assert found[2].source.decode() == source.replace("==", "!=")


def test_offsets_are_right_behind_letters_that_take_several_bytes():
    assert changed("x = 'é' < a") == ["x = 'é' <= a"]


@pytest.mark.parametrize("file", SOURCES)
def test_every_change_of_a_source_file_is_another_program_and_its_tests_exist(file):
    source = (ROOT / file).read_bytes()
    same = ast.dump(ast.parse(source))
    for change in find_changes(file, source)[::25]:
        assert ast.dump(ast.parse(change.source)) != same
    assert {*SOURCES[file], *GOLDEN} < {*find_tests(ROOT, file)} | {file}


def test_every_change_that_is_known_to_make_no_difference_is_a_change_of_the_code():
    found = {change.key for file in SOURCES for change in find_changes(file, (ROOT / file).read_bytes())}
    assert {tuple(each[key] for key in KEY) for each in tomllib.loads(EQUIVALENT.read_text())["change"]} <= found
