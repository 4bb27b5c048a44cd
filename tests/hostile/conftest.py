"""A folder in which tests forge artefacts."""

import shutil

import pytest


@pytest.fixture
def folder(everything, tmp_path, monkeypatch):
    """The working directory, with sources in `digits` and a workspace in `ws`."""
    for name in ("digits", "ws"):
        shutil.copytree(everything / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
