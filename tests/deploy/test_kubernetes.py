"""The manifests: valid by Kubernetes' own schemas, and what they promise of restarts, privileges and exit codes."""

import warnings

import pytest

from tests.deploy.parts import DEPLOY, HOPELESS, IN_IMAGE, TOLD_TO_STOP, WORTH_A_RETRY, check_command, documents

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own dependencies, when it is imported
    import kubernetes_validate

FOLDER = DEPLOY / "kubernetes"
FILES = sorted(FOLDER.glob("*.yaml"))
JOBS = ("retrain", "gpu")
VERSIONS = ("1.31", kubernetes_validate.latest_version())  # podFailurePolicy is stable from 1.31 on


def job_of(name):
    [found] = documents(FOLDER / f"{name}.yaml")
    return found["spec"]["jobTemplate"]["spec"] if found["kind"] == "CronJob" else found["spec"]


def pod_and_container_of(name):
    pod = job_of(name)["template"]["spec"]
    [container] = pod["containers"]
    return pod, container


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_schema(path, version):
    """Strictly: a field that Kubernetes does not know is an error too."""
    for document in documents(path):
        kubernetes_validate.validate(document, version, strict=True)


def test_kustomize_gathers_everything_but_the_gpu_job():
    [found] = documents(DEPLOY / "kustomization.yaml")
    assert {DEPLOY / name for name in found["resources"]} == set(FILES) - {FOLDER / "gpu.yaml"}
    [generated] = found["configMapGenerator"]
    assert generated["files"] == ["backbeam.toml"]
    for name in JOBS:
        volumes = {volume["name"]: volume for volume in pod_and_container_of(name)[0]["volumes"]}
        assert volumes["configuration"]["configMap"]["name"] == generated["name"]
    assert found["generatorOptions"]["disableNameSuffixHash"]  # else the GPU job names another


@pytest.mark.parametrize("name", JOBS)
def test_exit_codes(name):
    """Exactly ours, each by what a retry would bring; and a displaced pod is nobody's fault."""
    pod, container = pod_and_container_of(name)
    disrupted, *rules = job_of(name)["podFailurePolicy"]["rules"]
    assert disrupted["action"] == "Ignore"
    assert disrupted["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    codes = {rule["action"]: set(rule["onExitCodes"]["values"]) for rule in rules}
    assert codes == {"FailJob": HOPELESS, "Count": WORTH_A_RETRY | TOLD_TO_STOP}
    assert {rule["onExitCodes"]["operator"] for rule in rules} == {"In"}
    assert {rule["onExitCodes"]["containerName"] for rule in rules} == {container["name"]}
    assert pod["restartPolicy"] == "Never"
    assert 0 < job_of(name)["backoffLimit"] <= 6
    assert job_of(name)["activeDeadlineSeconds"] > 0


@pytest.mark.parametrize("name", JOBS)
def test_no_privileges(name):
    pod, container = pod_and_container_of(name)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001  # as deploy/Dockerfile
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod)
    assert not [volume for volume in pod["volumes"] if "hostPath" in volume]


@pytest.mark.parametrize("name", JOBS)
def test_the_command(name):
    _, container = pod_and_container_of(name)
    assert container["command"] == ["backbeam"]
    check_command(container["args"])
    assert f"--config={IN_IMAGE}" in container["args"]
    assert ("--device=gpu" in container["args"]) == (name == "gpu")
