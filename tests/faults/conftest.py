"""The zygote and the worlds, once for all tests of a process."""

from contextlib import closing

import pytest

from tests.faults.injection import Harness
from tests.faults.worlds import Worlds
from tests.faults.zygote import Zygote


@pytest.fixture(scope="session")
def zygote():
    with closing(Zygote()) as started:
        yield started


@pytest.fixture(scope="session")
def worlds(zygote, tmp_path_factory):
    return Worlds(tmp_path_factory.mktemp("worlds"), zygote)


@pytest.fixture
def harness(worlds, zygote, tmp_path):
    return Harness(worlds, zygote.run, tmp_path)
