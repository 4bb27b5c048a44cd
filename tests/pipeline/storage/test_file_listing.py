"""Sizes and times of files, on a disk and in a store."""

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.storage.file_listing import list_sizes, modified_time
from pipeline.storage.places import place_of


@pytest.fixture(params=["disk", "store"])
def folder(request, tmp_path, memory):
    """A folder with two files of 1 and 3 bytes."""
    files = {"one": b"1", "below/.three": b"333"}
    if request.param == "store":
        for name, data in files.items():
            memory[f"memory://bucket/folder/{name}"] = data
        return place_of("memory://bucket/folder")
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_all_files_below_a_folder_are_listed(folder):
    assert list_sizes(folder) == {"one": 1, "below/.three": 3}
    assert list_sizes(folder / "missing") == {}


def test_times_are_those_of_records(folder):
    written = modified_time(folder / "one")
    assert written.endswith("+00:00")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(written)) < timedelta(minutes=5)
    with pytest.raises(FileNotFoundError):
        modified_time(folder / "missing")
