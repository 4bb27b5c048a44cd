"""The zygotes and the worlds, once for all tests of a process."""

import os
from contextlib import ExitStack, closing

import pytest

from tests.faults.injection import Harness
from tests.faults.worlds import Worlds
from tests.faults.zygote import Zygote


@pytest.fixture(scope="session")
def zygotes():
    with ExitStack() as stack:
        yield [stack.enter_context(closing(Zygote())) for _ in range(min(2, os.cpu_count() or 1))]


@pytest.fixture(scope="session")
def worlds(zygotes, tmp_path_factory):
    return Worlds(tmp_path_factory.mktemp("worlds"), zygotes[0])


@pytest.fixture
def harness(worlds, zygotes, tmp_path):
    return Harness(worlds, [zygote.run for zygote in zygotes], tmp_path)
