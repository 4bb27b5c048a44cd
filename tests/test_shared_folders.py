import pytest

from tests.shared_folders import SharedFolders


def test_shared_folder_is_built_once_and_a_change_of_it_is_noticed(tmp_path):
    def build(folder):
        assert not (folder / "number").exists()
        (folder / "number").write_text("1")

    first, second = SharedFolders(tmp_path), SharedFolders(tmp_path)
    assert first.find("a", build) == second.find("a", build)
    first.check_unchanged()
    (second.find("a", build) / "number").write_text("2")
    with pytest.raises(AssertionError, match=r"changed the shared folder a, .*number"):
        first.check_unchanged()
