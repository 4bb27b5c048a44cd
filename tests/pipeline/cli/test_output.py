from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.output import Sheet, format_plain_text

FIGURES = Sheet(("split", "#right"), [("test", "913"), ("train", "3,919")])


def test_plain_text_columns_are_aligned():
    assert format_plain_text(FIGURES).splitlines() == ["split  right", "test     913", "train  3,919"]
    assert format_plain_text(FIGURES._replace(title="figures")).splitlines()[0] == "figures"


def test_control_characters_are_escaped():
    hostile = "\x1b]0;title\x07\x1b[2J\u202egnp.exe\r"
    sheets = (Sheet(("a",), [(hostile,)]), Sheet(("a",), [("b",)], hostile + "\n"))
    printed = [format_plain_text(each) for each in (hostile, *sheets)]
    assert not set("\x1b\x07\u202e\r") & set("".join(printed))
    assert printed[2].count("\n") == 2
    assert format_plain_text("two\nlines") == "two\nlines"


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_every_row_is_one_line(rows):
    sheet = Sheet(("text", "#number"), rows)
    assert format_plain_text(sheet).count("\n") == len(rows)
