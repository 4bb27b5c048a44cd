"""Report pages of two networks in headless Chromium; without Chromium the tests that need it are skipped."""

from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.train.run_lookup import TrainedModel, find_model
from tests import browser
from tests.helpers import Digits, run_in_process
from tests.pages import HOSTILE
from tests.pictures import write_rows


class ModelPage(NamedTuple):
    """A report page and its model."""

    path: Path
    model: TrainedModel


@pytest.fixture(scope="session")
def driver():
    if not browser.is_installed():
        pytest.skip(browser.MISSING)
    with browser.chromium() as started:
        yield started


def write_page(workspace: Path, folder: Path) -> ModelPage:
    done = run_in_process("report", "--workspace", workspace, "--to", folder / "page.html", "--json")
    assert done.code == 0, done.err
    return ModelPage(folder / "page.html", find_model(workspace, done.json["runs"][0]["run_id"]))


@pytest.fixture(scope="session")
def digits(driver, digits_run, tmp_path_factory):
    """The page of the default recipe."""
    return write_page(digits_run, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="session")
def tall(driver, tmp_path_factory):
    """The page of three layers with relu, softmax and cross-entropy; 7 x 4 pixels, class names that contain markup."""
    folder = tmp_path_factory.mktemp("tall")
    source = write_rows(folder / "rows", Digits(height=7, num_test=40, num_classes=5), names=list(HOSTILE))
    recipe = ["--recipe", "modern", "--layers", "28,8,6,5", "--num-steps", "60"]
    done = run_in_process("run", "--workspace", folder / "ws", "--dataset", source, *recipe)
    assert done.code == 0, done.err
    return write_page(folder / "ws", folder)


@pytest.fixture(params=["digits", "tall"])
def model_page(request):
    """Either page."""
    return request.getfixturevalue(request.param)
