"""The fork server and the scenarios, which all tests of a process share."""

from contextlib import closing

import pytest

from tests.earlier_formats import install_readers
from tests.faults.fork_server import ForkServer
from tests.faults.injection import Harness
from tests.faults.scenarios import Scenarios


@pytest.fixture(scope="session")
def server():
    with closing(ForkServer()) as started:
        yield started


@pytest.fixture(scope="session")
def scenarios(server, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        install_readers(patch)
        yield Scenarios(tmp_path_factory.mktemp("scenarios"), server)


@pytest.fixture
def harness(scenarios, server, tmp_path):
    return Harness(scenarios, server.run, tmp_path)
