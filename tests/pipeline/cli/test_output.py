import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from pipeline import progress
from pipeline.cli.output import Sheet, fit_to_width, format_plain_text, print_parts

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


WIDE = Sheet(("run", "#accuracy", "interval", "note"), [("name-seed1", "98.60 %", "98.1 to 98.9 %", "two words " * 3)])


def test_wide_table_is_cut_between_columns():
    assert fit_to_width(WIDE, 80) == [WIDE._replace(headings=list(WIDE.headings), rows=[[*WIDE.rows[0]]])]
    blocks = fit_to_width(WIDE, 45)
    assert [block.headings for block in blocks] == [["run", "#accuracy", "interval"], ["run", "note"]]
    assert blocks[1].rows == [["name-seed1", "two words " * 3]]


def test_row_that_is_a_line_loses_its_last_columns():
    [cut] = fit_to_width(WIDE._replace(row_is_line=True), 45)
    assert cut.headings == ["run", "#accuracy", "interval"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_word_is_broken_on_a_terminal(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    sentence = "a sentence whose words are of several lengths, which is longer than any terminal here " * 2
    print_parts([sentence, WIDE, f"  {sentence}", f"  - {sentence}", Sheet(("text",), [(sentence,)])])
    printed = [Text.from_ansi(line).plain.rstrip() for line in capsys.readouterr().out.splitlines()]
    expected = {
        *sentence.split(),
        "-",
        *WIDE.rows[0][3].split(),
        "run",
        "accuracy",
        "interval",
        "note",
        "name-seed1",
        "text",
    }
    expected |= {"98.60", "%", "98.1", "to", "98.9"}
    assert {word for line in printed for word in line.split() if "─" not in word} == expected
    assert [line for line in printed if len(line) > width] == [f"  {sentence}".rstrip()]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_progress_bar_keeps_its_numbers(width, monkeypatch):
    terminal = Console(file=io.StringIO(), force_terminal=True, width=width)
    monkeypatch.setattr(progress, "console", terminal)
    with progress.training_progress() as bar:
        bar.add_task("seed 12, training", total=10000, completed=9000, note="loss 0.0312, 91.3 % right")
        bar.refresh()
        assert "seed 12, training" in (shown := terminal.file.getvalue())
    assert "9000/10000" in shown
    assert "loss 0.0312, 91.3 % right" in shown
