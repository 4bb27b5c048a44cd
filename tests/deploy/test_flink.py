"""The session cluster: valid by the compose specification, workers where Flink looks for them, options known."""

import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml

from tests.deploy.parts import (
    DEPLOY,
    HOPELESS,
    ROOT,
    TOLD_TO_STOP,
    WORTH_A_RETRY,
    check_beam_options,
    check_command,
    documents,
    kustomize,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own dependencies, when it is imported
    import kubernetes_validate

COMPOSE = DEPLOY / "flink" / "compose.yaml"
SERVICES = yaml.safe_load(COMPOSE.read_text())["services"]
SESSION, POLICY, JOB = documents(DEPLOY / "flink" / "kubernetes.yaml")
TASK_MANAGER = SESSION["spec"]["taskManager"]["podTemplate"]["spec"]
[LAUNCHER] = JOB["spec"]["template"]["spec"]["containers"]


def test_the_schema():
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", COMPOSE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_the_command():
    words = SERVICES["backbeam"]["command"]
    check_command(words)
    check_beam_options(words)
    assert "--flink_master=jobmanager:8081" in words
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


def settings_of_compose(name):
    pairs = (line.split(": ", 1) for line in SERVICES[name]["environment"]["FLINK_PROPERTIES"].splitlines())
    return {key: value.split(" #")[0] for key, value in pairs}


@pytest.mark.parametrize(
    ("words", "num_slots"),
    [
        (SERVICES["backbeam"]["command"], settings_of_compose("taskmanager")["taskmanager.numberOfTaskSlots"]),
        (LAUNCHER["args"], SESSION["spec"]["flinkConfiguration"]["taskmanager.numberOfTaskSlots"]),
    ],
    ids=["compose", "Kubernetes"],
)
def test_parallelism_is_at_most_the_slots(words, num_slots):
    assert f"--parallelism={num_slots}" in words


@pytest.mark.parametrize(
    "settings",
    [settings_of_compose("jobmanager"), SESSION["spec"]["flinkConfiguration"]],
    ids=["compose", "Kubernetes"],
)
def test_restarts_outlast_the_heartbeat_timeout(settings):
    attempts = int(settings["restart-strategy.fixed-delay.attempts"])
    delay = int(settings["restart-strategy.fixed-delay.delay"].removesuffix(" s"))
    assert attempts * delay > 50


@pytest.mark.parametrize("version", ["1.31", kubernetes_validate.latest_version()])
def test_the_manifest_of_the_operator(version):
    """The schema of FlinkDeployment is not at hand; that of its pods is Kubernetes' own."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": TASK_MANAGER}
    for document in (pod, POLICY, JOB):
        kubernetes_validate.validate(document, version, strict=True)
    check_command(LAUNCHER["args"])
    check_beam_options(LAUNCHER["args"])
    assert f"--flink_master={SESSION['metadata']['name']}-rest:8081" in LAUNCHER["args"]
    rules = JOB["spec"]["podFailurePolicy"]["rules"][1:]
    codes = {rule["action"]: set(rule["onExitCodes"]["values"]) for rule in rules}
    assert codes == {"FailJob": HOPELESS, "Count": WORTH_A_RETRY | TOLD_TO_STOP}


def test_kustomize_fills_the_image_in_everywhere():
    [image] = [
        found["newName"] + ":" + found["newTag"]
        for found in documents(DEPLOY / "kubernetes" / "image" / "kustomization.yaml")[0]["images"]
        if found["name"] == "backbeam"
    ]
    text = yaml.safe_dump_all(kustomize(DEPLOY / "flink"))
    assert re.findall(r"image: (.*backbeam.*)", text) == [image, image]


def test_each_task_manager_has_a_pool_in_its_own_network():
    main, pool = TASK_MANAGER["containers"]
    assert main == {"name": "flink-main-container"}
    assert pool["args"] == SERVICES["workers"]["command"] == ["--worker_pool"]
    assert SERVICES["workers"]["network_mode"] == "service:taskmanager"
    for words in (LAUNCHER["args"], SERVICES["backbeam"]["command"]):
        assert "--environment_config=localhost:50000" in words
    for container in (pool, LAUNCHER):
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
