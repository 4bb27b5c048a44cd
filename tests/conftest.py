"""Fixtures that tests of both packages use."""

import os
from pathlib import Path

import hypothesis
import pytest

from tests.helpers import Digits

# the same examples every time, so that a red run is red again
hypothesis.settings.register_profile("backbeam", derandomize=True, deadline=None)
hypothesis.settings.load_profile("backbeam")


@pytest.fixture
def digits_folder(tmp_path: Path) -> Path:
    """A small data set of 60 and 20 images of 5 x 4 pixels in three classes."""
    return Digits().write(tmp_path / "digits")


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The four files of canonical MNIST."""
    named = os.environ.get("BACKBEAM_TEST_DATA")
    folder = Path(named or "missing") / "mnist"
    if not folder.is_dir():
        pytest.skip("needs canonical MNIST: set BACKBEAM_TEST_DATA to a folder that holds mnist/ with its four files")
    return folder
