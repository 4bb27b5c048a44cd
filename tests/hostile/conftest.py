"""Where hostile artefacts are put."""

import shutil

import pytest


@pytest.fixture
def place(everything, tmp_path, monkeypatch):
    """A folder with the sources and a workspace, which is the working directory."""
    for name in ("digits", "ws"):
        shutil.copytree(everything / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
