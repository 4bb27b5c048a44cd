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
def hostile_runs(tmp_path_factory):
    """A workspace and two run ids, of low accuracy; names of classes, source and workspace contain markup.

    Three layers with relu, softmax and cross-entropy; 7 x 4 pixels.
    """
    folder = tmp_path_factory.mktemp("hostile")
    source = folder / "<script>alert(6)<" / 'a "><img src=x onerror=alert(7)>'
    write_rows(source, Digits(height=7, num_test=1200, num_classes=5), names=list(HOSTILE))
    workspace = folder / '<img src=x onerror="alert(8)">'
    recipe = ("--recipe", "modern", "--layers", "28,8,6,5", "--num-steps", "1", "--seeds", "1-2")
    done = run_in_process("run", "--workspace", workspace, "--dataset", source, *recipe, "--json")
    assert done.code == 0, done.err
    return workspace, [run["run_id"] for run in done.json["runs"]]


@pytest.fixture(scope="session")
def tall(driver, hostile_runs, tmp_path_factory):
    return write_page(hostile_runs[0], tmp_path_factory.mktemp("tall"))


@pytest.fixture(params=["digits", "tall"])
def model_page(request):
    """Either page."""
    return request.getfixturevalue(request.param)
