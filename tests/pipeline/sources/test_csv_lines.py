"""Pieces of lines are found the same from anywhere in a file."""

import gzip

import pytest

from model.errors import BadInput
from pipeline.sources import csv_lines
from pipeline.sources.csv_columns import CsvColumns
from pipeline.sources.csv_lines import cut_pieces, read_labels

TEXTS = {
    "lines": "".join(f"{number},{'x' * (number % 23)}\n" for number in range(60)),
    "no newline at the end": "1,2\n" * 30 + "3,4",
    "Windows": "1,22\r\n" * 30,
    "blank lines": "1,2\n" + "\n" * 150 + "3,4\n",
    "newlines in quotes": '1,"a\nb"\n' * 30,
}


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", TEXTS)
def test_pieces_are_found_without_those_before_them(name, compress, tmp_path):
    path = tmp_path / "a.csv"
    data = f"label,pixel\n{TEXTS[name]}".encode()
    path.write_bytes(gzip.compress(data) if compress else data)
    whole = list(cut_pieces(path, 12, 37))
    assert b"".join(piece.lines for piece in whole) == data[12:]
    assert all(data[piece.offset :].startswith(piece.lines) for piece in whole)
    assert len(whole) > 3
    for num_before in range(len(data) // 37):
        found = list(cut_pieces(path, 12, 37, num_before))
        boundary = 12 + 37 * num_before
        assert found == [piece for piece in whole if piece.offset + len(piece.lines) > boundary]


def test_a_line_that_is_too_long_is_the_same_error_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_lines, "MAX_LINE_BYTES", 30)
    path = tmp_path / "a.csv"
    path.write_bytes(b"1,2\n" * 20 + b"3" * 100 + b"\n" + b"1,2\n" * 20)
    for num_before in range(3):
        with pytest.raises(BadInput, match=r"a\.csv: a line of more than 30 bytes$"):
            list(cut_pieces(path, 0, 37, num_before))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b'a.png,x,\nb.png,"y,\nc.png,z,\n', "c.csv: no sound CSV"),
        (b'a.png,x,note\nb.png,y,"note\nc.png,z,note\n', "c.csv: no sound CSV: a quote that is not closed"),
        (
            b'a.png,x,"note\nb.png,y,note\nc.png,z,"note\nd.png,z,note\n',
            "c.csv: no sound CSV: a quote that is not closed",
        ),
        (b'a.png,"x\ny",note\nb.png,y,note\n', "a field of column 'label' has a line break after 'x'"),
    ],
    ids=["other columns", "odd", "even", "of the label"],
)
def test_a_stray_quote_hides_no_rows(lines, message):
    columns = CsvColumns(",", ("path", "label", "note"), has_header=True, label=1, images=(0,))
    with pytest.raises(BadInput, match=message):
        read_labels(lines, columns, "c.csv")


@pytest.mark.parametrize("lines", [b'a.png,x,5" wide\nb.png,y,z\n', b'a.png,x,z\nb.png,y,"two\nlines"\n'])
def test_a_quote_inside_a_field_or_a_line_break_in_a_column_that_is_not_read_is_allowed(lines):
    columns = CsvColumns(",", ("path", "label", "note"), has_header=True, label=1, images=(0,))
    assert read_labels(lines, columns, "c.csv") == ["x", "y"]
