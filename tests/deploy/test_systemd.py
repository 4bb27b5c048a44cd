"""The units, read; and systemd's own opinion of them where it is installed."""

import shutil
import subprocess
from configparser import ConfigParser

import pytest

from tests.deploy.parts import DEPLOY, HOPELESS, TOLD_TO_STOP, check_command, unit_commands

FOLDER = DEPLOY / "systemd"
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(not ANALYZE, reason="needs systemd-analyze")


def unit(name):
    """A unit, of which a setting may be given more than once; the last one counts here."""
    parser = ConfigParser(strict=False, interpolation=None, comment_prefixes=("#", ";"))
    parser.optionxform = str
    parser.read_string((FOLDER / name).read_text())
    return parser


SERVICE = unit("backbeam-retrain.service")["Service"]


DROP_INS = sorted((DEPLOY / "own-pictures").glob("*.d/*.conf"))


@pytest.fixture(params=["as it is", "with the drop-ins of own-pictures"])
def installed(request, tmp_path):
    """The units with a program that is there, since systemd looks for it."""
    paths = sorted(FOLDER.glob("backbeam-retrain.*"))
    if request.param != "as it is":
        paths += DROP_INS
    for path in paths:
        place = tmp_path / path.parent.name / path.name if path.suffix == ".conf" else tmp_path / path.name
        place.parent.mkdir(exist_ok=True)
        place.write_text(path.read_text().replace("/opt/backbeam/bin/backbeam", shutil.which("true")))
    return tmp_path


@needs_systemd
def test_systemd_verifies_them(installed):
    units = [path for path in sorted(installed.glob("backbeam-retrain.*")) if path.is_file()]
    done = subprocess.run([ANALYZE, "verify", *units], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_systemd_rates_its_exposure_as_low(installed):
    """On a scale from 0 to 100; what is left is the network, which downloads and buckets need."""
    options = ("--offline=yes", "--threshold=20", "--no-pager")
    command = [ANALYZE, "security", *options, installed / "backbeam-retrain.service"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_exit_codes():
    """Told to stop is no failure; what would come out the same is not tried again; everything else is."""
    assert set(map(int, SERVICE["SuccessExitStatus"].split())) == TOLD_TO_STOP
    assert set(map(int, SERVICE["RestartPreventExitStatus"].split())) == HOPELESS
    assert SERVICE["Restart"] == "on-failure"
    assert int(unit("backbeam-retrain.service")["Unit"]["StartLimitBurst"]) > 1


def test_the_command():
    program, *words = SERVICE["ExecStart"].split()
    assert program == "/opt/backbeam/bin/backbeam"
    check_command(words)
    assert {"--dataset=${BACKBEAM_DATASET}", "--config=%E/backbeam/backbeam.toml"} <= set(words)
    assert SERVICE["EnvironmentFile"] == "%E/backbeam/backbeam.env"
    assert "Environment=BACKBEAM_WORKSPACE=%S/backbeam/workspace\n" in (FOLDER / "backbeam-retrain.service").read_text()
    for path in DROP_INS:
        for each in unit_commands(path.read_text()):
            check_command(each)
