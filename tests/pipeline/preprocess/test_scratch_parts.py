"""Files in parts: what is written comes back, and damage is detected."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import CorruptArtefact
from pipeline.preprocess.scratch_parts import (
    carry_part,
    num_bytes_written,
    read_index,
    read_part,
    read_piece,
    write_index,
    write_parts,
)
from pipeline.storage.files import scratch_folder


@given(st.lists(st.binary(max_size=9), max_size=5), st.lists(st.binary(max_size=9), max_size=2))
def test_every_part_comes_back(parts, content):
    with scratch_folder("parts") as folder:
        file = write_parts(folder, parts, content)
        assert [read_part(file, number) for number in range(len(parts))] == parts
        assert Path(file.place).read_bytes().startswith(b"".join(content))
        assert num_bytes_written(folder) == sum(map(len, [*parts, *content])) + 24 * len(parts)


def test_parts_are_asked_for_when_the_content_is_written(tmp_path):
    seen = []
    content = (seen.append(chunk) or chunk for chunk in (b"a", b"b"))
    file = write_parts(tmp_path, (b"".join(seen) for _ in range(1)), content)
    assert read_part(file, 0) == b"ab"


def test_a_carried_file_has_one_part_whatever_its_number():
    file = carry_part([b"part"], [b"content"])
    assert read_part(file, 0) == read_part(file, 77) == b"part"
    with pytest.raises(CorruptArtefact, match="shuffle"):
        read_part(file._replace(carried=file.carried.replace(b"part", b"trap")), 0)


def test_a_file_that_is_cut_off_is_corrupt(tmp_path):
    file = write_parts(tmp_path, [b"one", b"two"])
    path = Path(file.place)
    path.write_bytes(path.read_bytes()[:-1])
    assert read_part(file, 0) == b"one"
    with pytest.raises(CorruptArtefact, match="ends before byte"):
        read_part(file, 1)


@pytest.mark.parametrize(("num_bytes", "start"), [(-1, 0), (1, -1), (7, 0), (1, 6), (2**62, 0), (0, 2**62)])
def test_a_piece_outside_of_the_content_is_corrupt(num_bytes, start, tmp_path):
    file = write_parts(tmp_path, [b"sixbit"])
    with pytest.raises(CorruptArtefact, match="expected CRC-32C 1 "):
        read_piece(file, num_bytes, start, 1)


def test_an_index_lists_files(tmp_path):
    files = [write_parts(tmp_path, [b"one"]), write_parts(tmp_path, [b"other"], [b"content"])]
    assert read_index(write_index(tmp_path, files)) == files
    assert read_index(write_index(tmp_path, [])) == []


def test_other_files_of_the_folder_are_not_counted(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"decompressed")
    assert num_bytes_written(tmp_path) == 0
