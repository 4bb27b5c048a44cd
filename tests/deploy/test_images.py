"""The Dockerfiles, read; hadolint's own opinion of them too. No image is built here."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.deploy.parts import DEPLOY, ROOT

DOCKERFILE, FLEX = DEPLOY / "Dockerfile", DEPLOY / "dataflow" / "Dockerfile"
each_dockerfile = pytest.mark.parametrize("path", [DOCKERFILE, FLEX], ids=["deploy", "dataflow"])
HADOLINT = Path(sys.executable).with_name("hadolint")


def instructions(path: Path) -> list[tuple[str, str]]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return [
        (line.split()[0], line.split(maxsplit=1)[1])
        for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
        if line
    ]


def arguments(path: Path) -> dict[str, str]:
    return dict(rest.split("=", 1) for word, rest in instructions(path) if word == "ARG")


def pinned(package: str) -> str:
    return re.search(rf"^{package}==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]


@each_dockerfile
def test_hadolint_objects_to_nothing(path):
    done = subprocess.run([HADOLINT, "--no-color", path], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


@each_dockerfile
def test_every_image_is_pinned_to_a_version(path):
    images = [value for name, value in arguments(path).items() if name.endswith("IMAGE")]
    assert all(re.search(r":\d+(\.\d+){1,2}|:\d{8}-rc\d+", image) for image in images)
    starts = [rest.partition(" AS ") for word, rest in instructions(path) if word == "FROM"]
    stages = {stage for _, _, stage in starts}
    assert all(image.startswith("${") or image in stages for image, _, _ in starts)


def test_beam_is_the_version_that_was_tested():
    """Beam's boot and the package must be of one version, and its image of one Python."""
    image = arguments(DOCKERFILE)["BEAM_IMAGE"]
    assert image.endswith(f":{pinned('apache-beam')}")
    python = re.search(r"beam_python(3\.\d+)_sdk", image)[1]
    assert f"python:{python}." in arguments(DOCKERFILE)["PYTHON_IMAGE"]
    assert f"python{python.replace('.', '')}-" in arguments(FLEX)["LAUNCHER_IMAGE"]


def test_the_builder_is_sent_what_it_copies_and_nothing_else():
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set()
    for path in (DOCKERFILE, FLEX):
        rests = [rest for word, rest in instructions(path) if word == "COPY" and not rest.startswith("--from")]
        copied |= {source for rest in rests for source in rest.split()[:-1]}
    assert sent == copied
    assert all((ROOT / each).exists() for each in copied)


def test_the_image_holds_every_package_of_the_wheel():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = [rest.split()[0] for word, rest in instructions(DOCKERFILE) if word == "COPY"]
    assert set(wheel["packages"]) <= set(copied)


def test_tags_are_backbeams_version():
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert arguments(FLEX)["IMAGE"] == f"backbeam:{version}"
    images = yaml.safe_load((DEPLOY / "kubernetes" / "image" / "kustomization.yaml").read_text())["images"]
    assert {image["newTag"] for image in images} == {version}
    for part in ("flink/compose.yaml", "vertex/custom-job.yaml"):
        found = re.findall(r"backbeam(?:-gpu)?:(\d+\.\d+\.\d+)", (DEPLOY / part).read_text())
        assert set(found) == {version}, part


def test_no_image_runs_as_root():
    assert [rest for word, rest in instructions(DOCKERFILE) if word == "USER"] == ["10001:10001"]
