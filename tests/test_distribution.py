"""What the sdist and the wheel hold, and whether they can be installed."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from tests.distribution import ROOT, absolute_links, build
from tests.helpers import Digits

REPOSITORY = "https://example.org/owner/backbeam"
PACKAGES = ("pipeline/", "model/", "backbeam/")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist and the wheel that `make dist` builds."""
    return build(tmp_path_factory.mktemp("dist"), REPOSITORY)


@pytest.fixture(scope="module")
def tracked():
    git = shutil.which("git")
    if not git or not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    command = [git, "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).exists()}


def test_relative_links_lead_to_the_repository():
    readme = "![a](docs/a.png) [b](docs/b.md#c) [d](https://example.org) [e](#f) [![g](h.png)](i.md)"
    assert absolute_links(readme, "https://h/o", "v1") == (
        "![a](https://h/o/raw/v1/docs/a.png) [b](https://h/o/blob/v1/docs/b.md#c) [d](https://example.org) [e](#f) "
        "[![g](h.png)](https://h/o/blob/v1/i.md)"
    )


@pytest.mark.thorough
def test_distributions_hold_every_file_and_no_other(built, tracked):
    sdist, wheel = built
    with tarfile.open(sdist) as archive:
        members = {name.partition("/")[2] for name in archive.getnames()}
    assert members == tracked | {"PKG-INFO"}
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {name for name in tracked if name.startswith(PACKAGES)}


@pytest.mark.thorough
def test_metadata_are_those_of_an_index(built):
    done = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *built], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    archive = zipfile.ZipFile(built[1])
    [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = message_from_string(archive.read(name).decode())
    assert f"Source, {REPOSITORY}" in metadata.get_all("Project-URL")
    text = metadata.get_payload()
    assert f"({REPOSITORY}/raw/v{metadata['Version']}/docs/inspector.png)" in text
    assert "](docs/" not in text


@pytest.mark.slow
def test_sdist_is_installed_and_runs_elsewhere(built, tmp_path):
    """Takes minutes and 2.7 GB, and needs an index of packages; BACKBEAM_TEST_PYTHON names another Python."""
    python = os.environ.get("BACKBEAM_TEST_PYTHON", sys.executable)
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    programs = tmp_path / "venv" / "bin"
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def run(*command: object) -> str:
        done = subprocess.run([*map(str, command)], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(programs / "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", built[0])
    version = run(programs / "backbeam", "--version")
    assert version == run(programs / "python", "-m", "backbeam", "--version")
    assert version.split()[1] in built[0].name
    digits = Digits().write(tmp_path / "digits")
    result = json.loads(run(programs / "backbeam", "run", digits, "--num-steps", 20, "--json"))
    assert Path(tmp_path / result["paths"]["run"] / "evaluation.json").exists()
