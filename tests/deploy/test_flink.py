"""The session cluster: valid by the compose specification, workers where Flink looks for them, options known."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.deploy.parts import DEPLOY, ROOT, check_beam_options, check_command

COMPOSE = DEPLOY / "flink" / "compose.yaml"
SERVICES = yaml.safe_load(COMPOSE.read_text())["services"]


def test_the_schema():
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", COMPOSE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_the_command():
    words = SERVICES["backbeam"]["command"]
    check_command(words)
    check_beam_options(words)
    server = dict(word.lstrip("-").split("=") for word in SERVICES["job-server"]["command"])
    assert f"--job_endpoint=job-server:{server['job-port']}" in words
    assert f"--artifact_endpoint=job-server:{server['artifact-port']}" in words


def test_versions_go_together():
    beam = re.search(r"^apache-beam==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    flink, version = re.fullmatch(
        r"apache/beam_flink(\d+\.\d+)_job_server:(\S+)", SERVICES["job-server"]["image"]
    ).groups()
    assert version == beam
    for name in ("jobmanager", "taskmanager"):
        assert SERVICES[name]["image"].startswith(f"flink:{flink}.")


def test_nothing_is_open_or_privileged():
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
        assert "privileged" not in service
