from tests.class_names import find_repeated


def test_repeated_class_name_is_listed_with_its_places(tmp_path):
    (tmp_path / "a.py").write_text("class Row:\n    pass\n\n\nclass Other:\n    pass\n")
    (tmp_path / "b.py").write_text("import x\n\n\nclass _Row:\n    pass\n")
    assert find_repeated([tmp_path / "a.py", tmp_path / "b.py"]) == {
        "Row": [f"{tmp_path}/a.py:1", f"{tmp_path}/b.py:4"]
    }
