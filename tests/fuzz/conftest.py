"""What the fuzz targets leave behind is deleted."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_files_left() -> Iterator[None]:
    yield
    from tests.fuzz.targets import clean_up  # whose libraries few tests need

    clean_up()
