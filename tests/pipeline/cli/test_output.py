from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.output import Sheet, SheetColumn, as_plain_text, columns, print_parts

FIGURES = Sheet(columns("split", "#right"), [("test", "913"), ("train", "3,919")])


def test_plain_text_is_aligned():
    assert as_plain_text(FIGURES).splitlines() == ["split  right", "test     913", "train  3,919"]
    assert as_plain_text(FIGURES._replace(title="figures")).splitlines()[0] == "figures"


def test_without_a_terminal_there_are_no_colours_and_rules(capsys):
    print_parts(["head", FIGURES])
    assert capsys.readouterr().out == "head\nsplit  right\ntest     913\ntrain  3,919\n"


def test_a_name_cannot_steer_a_terminal():
    hostile = "\x1b]0;title\x07\x1b[2J\u202egnp.exe\r"
    assert not set("\x1b\x07\u202e\r") & set(as_plain_text(hostile) + as_plain_text(Sheet(columns("a"), [(hostile,)])))
    assert as_plain_text("two\nlines") == "two\nlines"
    assert as_plain_text(Sheet(columns("a"), [("b",)], hostile + "\n")).count("\n") == 2
    assert "\x1b" not in as_plain_text(Sheet(columns("a"), [("b",)], hostile))


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_a_row_is_a_line_whatever_is_in_it(rows):
    sheet = Sheet((SheetColumn("one"), SheetColumn("two", True)), rows)
    assert as_plain_text(sheet).count("\n") == len(rows)
