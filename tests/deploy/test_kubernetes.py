"""The manifests: valid by Kubernetes' own schemas, and what they promise of restarts, privileges and exit codes."""

import os
import re
import warnings

import pytest

from tests.deploy.parts import (
    DEPLOY,
    HOPELESS,
    IN_IMAGE,
    ROOT,
    TOLD_TO_STOP,
    WORTH_A_RETRY,
    check_command,
    documents,
    kustomize,
    read_environment,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own dependencies, when it is imported
    import kubernetes_validate

FOLDER = DEPLOY / "kubernetes"
[CRON_JOB] = documents(FOLDER / "retrain.yaml")
JOB = CRON_JOB["spec"]["jobTemplate"]["spec"]
POD = JOB["template"]["spec"]
[CONTAINER] = POD["containers"]
DEPLOYMENTS = {"a volume": DEPLOY, "buckets": DEPLOY / "own-pictures"}
VERSIONS = ("1.31", kubernetes_validate.latest_version())  # podFailurePolicy is stable from 1.31 on


@pytest.fixture(scope="module", params=[*DEPLOYMENTS, "a GPU"])
def built(request, tmp_path_factory):
    """The manifests of a deployment, by kind."""
    if request.param in DEPLOYMENTS:
        return by_kind(kustomize(DEPLOYMENTS[request.param]))
    folder = tmp_path_factory.mktemp("gpu")
    base = os.path.relpath(FOLDER, folder)  # kustomize takes no absolute path
    text = f"resources: [{base}]\ncomponents: [{base}/gpu, {base}/image]\n"
    (folder / "kustomization.yaml").write_text(text)
    return by_kind(kustomize(folder))


def by_kind(manifests):
    return {
        manifest["kind"]: [each for each in manifests if each["kind"] == manifest["kind"]] for manifest in manifests
    }


def pod_of(built):
    [cron_job] = built["CronJob"]
    return cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schema(built, version):
    """Strictly: a field that Kubernetes does not know is an error too."""
    for manifest in (manifest for manifests in built.values() for manifest in manifests):
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["namespace.yaml", "retrain.yaml", "volume/workspace.yaml"])
def test_the_schema_of_what_is_built_from(name, version):
    for document in documents(FOLDER / name):
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("kustomization.yaml")), ids=lambda path: path.parent.name)
def test_a_kustomization_names_what_is_there(path):
    [found] = documents(path)
    files = [patch["path"] for patch in found.get("patches", ()) if "path" in patch]
    for generator in found.get("configMapGenerator", ()):
        files += [*generator.get("files", ()), *generator.get("envs", ())]
    assert all((path.parent / name).is_file() for name in files)
    for name in (*found.get("resources", ()), *found.get("components", ())):
        named = path.parent / name
        assert named.is_file() or (named / "kustomization.yaml").is_file(), name
    # else other manifests, which are created by hand, name another ConfigMap
    assert not found.get("configMapGenerator") or found["generatorOptions"]["disableNameSuffixHash"]


def test_exit_codes():
    """Exactly ours, each by what a retry would bring; and a displaced pod is nobody's fault."""
    disrupted, *rules = JOB["podFailurePolicy"]["rules"]
    assert disrupted["action"] == "Ignore"
    assert disrupted["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    codes = {rule["action"]: set(rule["onExitCodes"]["values"]) for rule in rules}
    assert codes == {"FailJob": HOPELESS, "Count": WORTH_A_RETRY | TOLD_TO_STOP}
    assert {rule["onExitCodes"]["operator"] for rule in rules} == {"In"}
    assert {rule["onExitCodes"]["containerName"] for rule in rules} == {CONTAINER["name"]}
    assert POD["restartPolicy"] == "Never"
    assert 0 < JOB["backoffLimit"] <= 6
    assert JOB["activeDeadlineSeconds"] > 0


def test_no_privileges(built):
    pod = pod_of(built)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001  # as deploy/Dockerfile
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod)
    assert not [volume for volume in pod["volumes"] if "hostPath" in volume]


def test_the_command(built):
    [container] = pod_of(built)["containers"]
    assert container["command"] == ["backbeam"]
    check_command(container["args"])
    assert f"--config={IN_IMAGE}" in container["args"]
    is_gpu = "--device=gpu" in container["args"]
    assert ("nvidia.com/gpu" in container["resources"]["limits"], "backbeam-gpu" in container["image"]) == (is_gpu,) * 2


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_variable_and_every_name_is_defined(name):
    built = by_kind(kustomize(DEPLOYMENTS[name]))
    maps = {found["metadata"]["name"]: found["data"] for found in built["ConfigMap"]}
    claims = {found["metadata"]["name"] for found in built["PersistentVolumeClaim"]}
    pod = pod_of(built)
    [container] = pod["containers"]
    used = set(re.findall(r"\$\((\w+)\)", " ".join(container["args"])))
    [source] = container["envFrom"]
    assert used <= {*maps[source["configMapRef"]["name"]]}
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    for volume in pod["volumes"]:
        assert volume["name"] in mounted
        if "configMap" in volume:
            assert f"{mounted[volume['name']]}/{min(maps[volume['configMap']['name']])}" == IN_IMAGE
        if "persistentVolumeClaim" in volume:
            assert volume["persistentVolumeClaim"]["claimName"] in claims
    accounts = {found["metadata"]["name"] for found in built.get("ServiceAccount", ())}
    assert pod.get("serviceAccountName", "default") in {"default", *accounts}
    assert {found["metadata"].get("namespace", "backbeam") for kind in built for found in built[kind]} == {"backbeam"}


def test_the_volume_is_where_the_image_looks_for_the_workspace():
    [container] = pod_of(by_kind(kustomize(DEPLOY)))["containers"]
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert f"BACKBEAM_WORKSPACE={mounted['workspace']} " in dockerfile
    assert "BACKBEAM_WORKSPACE" not in read_environment(DEPLOY / "backbeam.env")
    assert (ROOT / "pipeline" / "cli" / "options.py").read_text().count('"BACKBEAM_WORKSPACE"') == 1
