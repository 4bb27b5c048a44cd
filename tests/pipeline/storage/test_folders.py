from unittest.mock import Mock

import pytest

from model.errors import BadUsage, StorageFailed
from pipeline.storage.files import write_atomically
from pipeline.storage.folders import create_folder_atomically, publish_folder, unpublish_folder
from tests.helpers import contents


def test_publishing_a_folder_again_keeps_the_first(tmp_path):
    staged, folder = tmp_path / "hidden" / "staged", tmp_path / "shown" / "folder"
    for content in (b"first", b"again"):
        write_atomically(staged / "file", content)
        publish_folder(staged, folder)
        assert contents(tmp_path) == {"shown/folder/file": b"first"}
        assert not staged.exists()
    publish_folder(staged, folder)  # nothing is left to publish
    assert contents(tmp_path) == {"shown/folder/file": b"first"}
    with pytest.raises(StorageFailed, match=r"cannot rename .*staged: No such file"):
        publish_folder(staged, folder.with_name("other"))


def test_an_unpublished_folder_is_removed_and_can_be_written_again(tmp_path):
    write_atomically(tmp_path / "shown" / "file", b"x")
    for _ in range(2):
        unpublish_folder(tmp_path / "shown", tmp_path / "hidden")
        assert contents(tmp_path) == {}
    write_atomically(tmp_path / "shown" / "file", b"y")
    assert contents(tmp_path) == {"shown/file": b"y"}


def write_folder(target, meanwhile):
    with create_folder_atomically(target) as folder:
        (folder / "file").write_bytes(b"written")
        meanwhile()


@pytest.mark.parametrize("problem", [OSError, KeyboardInterrupt])
def test_failed_folder_leaves_nothing(problem, tmp_path):
    with pytest.raises(problem):
        write_folder(tmp_path / "target", Mock(side_effect=problem))
    assert list(tmp_path.iterdir()) == []


def test_folder_that_another_process_finished_first_is_kept(tmp_path):
    target = tmp_path / "target"
    with pytest.raises(BadUsage, match="exists"):
        write_folder(target, lambda: write_atomically(target / "second", b"done"))
    assert contents(tmp_path) == {"target/second": b"done"}
