"""The project itself sent to workers: installed there by wheel or from source, on an interpreter that lacks it."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.processes import code_identity
from tests.engines.catalogue import EXTERNAL, JOB_SERVICE, PORTABLE, WORKER_POOL
from tests.engines.isolation import ROOT
from tests.engines.stages import check_shards, preprocess_isolated

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(not (find_spec("build") and find_spec("hatchling")), reason="needs the extra `engines`"),
]


@pytest.fixture
def bare(tmp_path):
    """An interpreter with every package of this one but backbeam, which is installed editable here."""
    venv.create(tmp_path / "bare")
    python = tmp_path / "bare" / "bin" / "python"
    [packages] = (tmp_path / "bare" / "lib").glob("python3*/site-packages")
    # a folder that a .pth file names is searched, but .pth files in it are not read: the editable one among them
    folders = [*dict.fromkeys([sysconfig.get_path("purelib"), *(x for x in sys.path if x.endswith("site-packages"))])]
    (packages / "others.pth").write_text("\n".join(folders) + "\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    tried = [
        subprocess.run([python, "-c", f"import {name}"], cwd=tmp_path, env=environment, capture_output=True).returncode
        for name in ("apache_beam", "pipeline")
    ]
    if tried != [0, 1]:
        pytest.skip("needs backbeam installed editable, as make does, so that it can be left out")
    return python


def pool_of(python, folder):
    """A worker pool whose workers are booted by an interpreter that sees nothing of this checkout."""
    script = folder / "boot"
    boot = Path(__file__).with_name("boot.py")
    script.write_text(f'#!/bin/sh\nunset PYTHONPATH\ncd "{folder}"\nexec "{python}" "{boot}" "$@"\n')
    script.chmod(0o755)
    return [*WORKER_POOL, f"--container_executable={script}"]


@pytest.fixture
def wheel(tmp_path):
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path / "dist", ROOT]
    subprocess.run(command, check=True, capture_output=True)
    [built] = (tmp_path / "dist").iterdir()
    return built


def test_a_wheel_has_the_code_digest_of_its_sources(wheel, tmp_path):
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(unpacked)
    command = [sys.executable, "-P", "-c", "from pipeline.processes import code_identity; print(*code_identity())"]
    environment = os.environ | {"PYTHONPATH": str(unpacked)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(code_identity())


def preprocess(folder, bare, *staged):
    servers = {"job": JOB_SERVICE, "pool": pool_of(bare, folder)}
    return preprocess_isolated(folder, *PORTABLE, *EXTERNAL, *staged, servers=servers)


@pytest.mark.parametrize("source", [False, True], ids=["a wheel", "the source"])
def test_staged_code_makes_the_same_shards(source, bare, wheel, tmp_path):
    staged = f"--setup_file={ROOT / 'pyproject.toml'}" if source else f"--extra_package={wheel}"
    done = preprocess(tmp_path, bare, staged)
    assert done.code == 0, done.err
    check_shards(tmp_path)


def test_nothing_staged_is_an_error_that_names_what_is_missing(bare, tmp_path):
    done = preprocess(tmp_path, bare)
    assert done.code == 7
    assert "No module named 'pipeline'" in done.err
    assert not list(tmp_path.glob("ws/datasets/*"))
