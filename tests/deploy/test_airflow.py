"""The DAG in an environment of its own with Airflow 3: imported, looked at, and run with a stand-in for backbeam."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model.errors import BadInput, EngineFailed
from tests.deploy.parts import DEPLOY, HOPELESS, check_command

pytestmark = pytest.mark.deploy

REQUIREMENTS = Path(__file__).with_name("airflow-requirements.txt")
PROBE = Path(__file__).with_name("airflow_probe.py")


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
    """Runs a subcommand of airflow_probe.py where Airflow is installed; returns what it printed last, as JSON."""
    folder = tmp_path_factory.mktemp("airflow")
    uv, python = Path(sys.executable).with_name("uv"), folder / "venv" / "bin" / "python"
    run(uv, "venv", "--quiet", folder / "venv", "--python", sys.executable)
    run(uv, "pip", "install", "--quiet", "--python", python, "--requirement", REQUIREMENTS)
    names = ("HOME", "PATH", "LANG", "SSL_CERT_FILE")  # nothing of this environment, PYTHONPATH least of all
    environment = {name: os.environ[name] for name in names if name in os.environ}
    environment |= {
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DEPLOY / "airflow"),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    run(python, "-m", "airflow", "db", "migrate", environment=environment)

    def probe(*words):
        return json.loads(run(python, PROBE, *words, environment=environment).splitlines()[-1])

    return probe


def run(*command, environment=None):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def stand_in(folder, code):
    program = folder / f"backbeam-{code}"
    program.write_text(f'#!/bin/sh\necho "$@" > {folder}/arguments\necho "backbeam: as asked for"\nexit {code}\n')
    program.chmod(0o755)
    return program


def test_it_is_imported_and_is_what_it_should_be(airflow):
    found = airflow("look")
    assert found["errors"] == {}
    assert found["dags"] == ["backbeam_retrain"]
    assert (found["max_active_runs"], found["catchup"], found["tasks"]) == (1, False, ["retrain"])
    assert (found["retries"], found["timetable"]) == (3, "17 2 * * *")
    assert set(found["not_worth_a_retry"]) == HOPELESS
    check_command(found["command"][1:])


def test_a_run(airflow, tmp_path):
    config = {"backbeam": str(stand_in(tmp_path, 0)), "workspace": "gs://bucket/ws", "dataset": "mnist-5k"}
    assert airflow("run", json.dumps(config)) == {"state": "success", "tries": 1, "task": "success"}
    words = (tmp_path / "arguments").read_text().split()
    check_command(words)
    assert {"--workspace=gs://bucket/ws", "--dataset=mnist-5k", "--config=/etc/backbeam/backbeam.toml"} <= set(words)


@pytest.mark.parametrize(("kind", "num_tries"), [(BadInput, 1), (EngineFailed, 2)])
def test_only_a_failure_that_may_pass_is_tried_again(kind, num_tries, airflow, tmp_path):
    """One code stands for all: the others are in the same set, which is looked at above."""
    done = airflow("run", json.dumps({"backbeam": str(stand_in(tmp_path, kind.exit_code))}))
    assert done == {"state": "failed", "tries": num_tries, "task": "failed"}
