"""The public names of backbeam, and the ways to start the command."""

import subprocess
import sys
from importlib.metadata import version

import backbeam
from backbeam import slices
from pipeline.evaluate.slices import Slicing


def test_public_names_are_importable():
    assert backbeam.__version__ == version("backbeam")
    assert all(hasattr(backbeam, name) for name in backbeam.__all__)
    assert all(hasattr(slices, name) for name in slices.__all__)
    assert slices.Slicing is Slicing


def test_import_loads_no_heavy_library():
    code = "import sys, backbeam; sys.exit(bool({'tensorflow', 'apache_beam', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-P", "-c", code], timeout=60).returncode == 0


def test_python_m_backbeam_is_the_command(tmp_path):
    done = subprocess.run([sys.executable, "-m", "backbeam", "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"backbeam {version('backbeam')}\n"), done.stderr
