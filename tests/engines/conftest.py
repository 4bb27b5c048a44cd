"""Fixtures of the tests of engines."""

import pytest

from tests.engines.stages import STEPS
from tests.helpers import Digits, backbeam


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    return Digits(num_train=600, num_test=200).write(tmp_path_factory.mktemp("source") / "digits")


@pytest.fixture(scope="session")
def expected(tmp_path_factory, digits):
    """What the engine in this process, asked for nothing, makes of the digits."""
    workspace = tmp_path_factory.mktemp("expected") / "ws"
    done = backbeam("run", "--dataset", digits, *STEPS, "--workspace", workspace)
    assert done.code == 0, done.err
    return workspace
