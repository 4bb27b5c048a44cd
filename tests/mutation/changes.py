"""The small changes of a source file that a good test suite notices: mutants, each one edit of the text.

Not changed are docstrings, annotations (but for the calls in them, such as pydantic's Field), decorators, f-strings and
the text of errors, and zip's `strict`, which guards against mistakes in the code and not in what it is given.
"""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

SWAPPED_NAMES = {"any": "all", "all": "any", "min": "max", "max": "min"}
SWAPPED_OPERATORS = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.MatMult: ("@", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.BitXor: ("^", "|"),
}
# a condition of these is negated by swapping its operator, so `not` before it would be the same change again
_NEGATED_BY_SWAP = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)


class Change(NamedTuple):
    """One edit of a file."""

    file: str  # path below the repository's root
    line: int  # where the edit begins, from 1
    function: str  # qualified name of the function or class that it is in, or "module"
    before: str  # the edited lines as they are, with each run of whitespace made one space
    after: str  # the same lines with the edit
    source: bytes  # the whole file with the edit

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What stays the same when other lines of the file change."""
        return self.file, self.function, self.before, self.after


def find_changes(file: str, source: bytes) -> list[Change]:
    finder = _Finder(source)
    finder.visit(ast.parse(source))
    edits = sorted(set(finder.edits))
    return [_apply(file, source, edit) for edit in edits]


class _Edit(NamedTuple):
    start: int
    end: int
    text: str
    function: str


def _apply(file: str, source: bytes, edit: _Edit) -> Change:
    changed = source[: edit.start] + edit.text.encode() + source[edit.end :]
    first = source.rfind(b"\n", 0, edit.start) + 1
    rest_of_line = source[edit.end :].partition(b"\n")[0]
    before = _one_line(source[first : edit.end] + rest_of_line)
    after = _one_line(source[first : edit.start] + edit.text.encode() + rest_of_line)
    return Change(file, source.count(b"\n", 0, edit.start) + 1, edit.function, before, after, changed)


def _one_line(text: bytes) -> str:
    return " ".join(text.decode().split())


class _Finder(ast.NodeVisitor):
    """Collects the edits of a file; offsets are in bytes, as those of `ast` are."""

    def __init__(self, source: bytes) -> None:
        self.edits: list[_Edit] = []
        self._source = source
        self._line_starts = [0, *(match.end() for match in re.finditer(b"\n", source))]
        self._names: list[str] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_named(node, *node.args.defaults, *filter(None, node.args.kw_defaults), *node.body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit_named(node, *node.body)

    def _visit_named(self, node: ast.FunctionDef | ast.ClassDef, *parts: ast.AST) -> None:
        self._names.append(node.name)
        for part in parts:
            self.visit(part)
        self._names.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias":
            return
        for each in _outermost_calls(node.annotation):
            self.visit(each)
        if node.value:
            self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Leave f-strings as they are."""

    def visit_Raise(self, node: ast.Raise) -> None:
        self._replace(node, "pass")

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self._replace(node, "pass")
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            self._replace(node.value, "None")
        self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.If | ast.While | ast.IfExp):
            self._negate(node.test)
        super().generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for each in node.ifs:
            self._negate(each)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = (node.left, *node.comparators)
        for left, operator, right in zip(operands, node.ops, node.comparators, strict=False):
            self._swap(left, operator, right)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._swap(left, node.op, right)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if not _is_text(node):
            self._swap(node.left, node.op, node.right)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._swap(node.target, node.op, node.value)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        removed = {ast.Not: "not", ast.USub: "-", ast.Invert: "~"}.get(type(node.op), "")
        start = self._start(node)
        if removed:
            self._edit(start, start + len(removed), "")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._replace(node, str(not node.value))
        elif isinstance(node.value, int | float):
            self._replace(node, repr(node.value + 1))

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in SWAPPED_NAMES:
            self._replace(node.func, SWAPPED_NAMES[name])
        self.visit(node.func)
        for argument in node.args:
            self.visit(argument)
        for keyword in node.keywords:
            if (name, keyword.arg) != ("zip", "strict"):
                self._remove(keyword)
                self.visit(keyword.value)

    def visit_Break(self, node: ast.Break) -> None:
        self._replace(node, "continue")

    def visit_Continue(self, node: ast.Continue) -> None:
        self._replace(node, "break")

    def _negate(self, test: ast.expr) -> None:
        compared = isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], _NEGATED_BY_SWAP)
        if not compared and not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)):
            self._replace(test, f"not ({self._source[self._start(test) : self._end(test)].decode()})")

    def _swap(self, left: ast.expr, operator: ast.AST, right: ast.expr) -> None:
        token, other = SWAPPED_OPERATORS[type(operator)]
        start = self._source.index(token.encode(), self._end(left), self._start(right))
        self._edit(start, start + len(token), other)

    def _remove(self, keyword: ast.keyword) -> None:
        """Remove a keyword argument and the comma behind it; one before it may stay."""
        if keyword.arg is None:
            return
        end = self._end(keyword)
        comma = re.compile(rb"\s*,[ \t]*").match(self._source, end)
        self._edit(self._start(keyword), comma.end() if comma else end, "")

    def _replace(self, node: ast.expr | ast.stmt, text: str) -> None:
        self._edit(self._start(node), self._end(node), text)

    def _edit(self, start: int, end: int, text: str) -> None:
        self.edits.append(_Edit(start, end, text, ".".join(self._names) or "module"))

    def _start(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        return self._line_starts[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        return self._line_starts[node.end_lineno - 1] + node.end_col_offset


def _outermost_calls(node: ast.AST) -> Iterator[ast.Call]:
    if isinstance(node, ast.Call):
        yield node
    else:
        for child in ast.iter_child_nodes(node):
            yield from _outermost_calls(child)


def _is_text(node: ast.expr) -> bool:
    """Whether a string stands on either side, so that the operator joins text."""
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
