"""The example with pictures and buckets of one's own: its commands do what its page says, on an emulated S3."""

import os
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.parts import DEPLOY, documents, kustomize, read_environment, unit_commands
from tests.helpers import Digits, run_in_process

FOLDER = DEPLOY / "own-pictures"
[PATCH] = documents(FOLDER / "retrain.yaml")
[SIDE_CAR] = PATCH["spec"]["jobTemplate"]["spec"]["template"]["spec"]["initContainers"]
CLASSES = ("heron", "owl", "wren")


def write_pictures(folder: Path, delivery: int) -> None:
    """Write colour pictures of 20 x 16 pixels as pictures/SPLIT/CLASS/IMAGE, others in each delivery."""
    for number, (split, num_examples) in enumerate({"train": 90, "test": 60}.items(), 2 * delivery):
        for index, (image, label) in enumerate(zip(*Digits().split(number, num_examples), strict=True)):
            path = folder / "pictures" / split / CLASSES[label] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.kron(image, np.ones((4, 4), np.uint8))).convert("RGB").save(path)


def deliver(store, folder: Path, name: str, monkeypatch) -> None:
    """Do with pictures what the page says, up to the upload."""
    [code] = re.findall(r"```python\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102 - it is of this repository
    for split in ("train", "test"):
        store.put(f"pictures/parts/{name}/{split}.parquet", (folder / f"{split}.parquet").read_bytes())


def expand(words: list[str], environment: dict[str, str]) -> list[str]:
    return [re.sub(r"\$[({](\w+)[)}]", lambda found: environment[found[1]], word) for word in words]


@pytest.fixture
def amazon(tmp_path):
    from tests import emulators

    with emulators.amazon(tmp_path) as store:
        yield store


@pytest.mark.thorough
def test_the_command_of_the_unit_retrains_on_each_delivery(amazon, tmp_path, monkeypatch):
    environment = read_environment(FOLDER / "backbeam.env")
    environment = {
        name: value.replace("s3://PICTURES", amazon.uri("pictures")).replace("s3://WORKSPACE", amazon.uri("ws"))
        for name, value in environment.items()
    }
    environment |= amazon.environment | {"BACKBEAM_CACHE_DIR": str(tmp_path / "cache")}
    [words] = unit_commands((FOLDER / "backbeam-retrain.service.d" / "own-pictures.conf").read_text())
    places = {"%E/backbeam": str(FOLDER), "/var/lib/prometheus/node-exporter": str(tmp_path)}
    for place, here in places.items():
        words = [word.replace(place, here) for word in words]
    for delivery, name in enumerate(("2026-11-28", "2026-11-29")):
        write_pictures(tmp_path / name, delivery)
        deliver(amazon, tmp_path / name, name, monkeypatch)
        done = run_in_process(*expand(words, environment), "--json", environment=environment)
        assert done.code == 0, done.err
        if delivery == 0:
            assert done.json["outcome"] == "promoted", done.json["reasons"]
    entries = run_in_process("history", "--json", environment=environment).json["entries"]
    assert len({entry["dataset_id"] for entry in entries}) == 2
    shown = run_in_process("show", entries[0]["run_id"], "--json", environment=environment).json
    assert [row["class_name"] for row in shown["classes"] if row["split"] == "test"] == list(CLASSES)
    families = text_string_to_metric_families((tmp_path / "backbeam.prom").read_text())
    figures = {sample.name: sample.value for family in families for sample in family.samples}
    assert (figures["backbeam_last_exit_code"], figures["backbeam_retention_failed"]) == (0, 0)
    assert figures["backbeam_champion_version"] >= 1


def test_both_platforms_run_the_same_command():
    [cron_job] = [found for found in kustomize(FOLDER) if found["kind"] == "CronJob"]
    [container] = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    [words] = unit_commands((FOLDER / "backbeam-retrain.service.d" / "own-pictures.conf").read_text())
    environment = read_environment(FOLDER / "backbeam.env")
    local = ("--config=", "--metrics-file=")
    here, there = (
        sorted(word for word in expand(each, environment) if not word.startswith(local))
        for each in (container["args"], words)
    )
    assert here == there
    figures = [word.partition("=")[2] for word in container["args"] if word.startswith("--metrics-file=")]
    assert f"@{figures[0]}" in SIDE_CAR["args"][0]


def test_the_side_car_gives_the_figures_to_the_gateway_when_it_is_terminated(tmp_path):
    programs = {"curl": f'echo "$@" > {tmp_path}/told', "sleep": f"touch {tmp_path}/waits; exec /bin/sleep 60"}
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PUSHGATEWAY": "http://gateway:9091"}
    command = [*SIDE_CAR["command"], *SIDE_CAR["args"]]
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        try:
            while not (tmp_path / "waits").exists():
                assert process.poll() is None
                time.sleep(0.01)
            assert not (tmp_path / "told").exists()
            process.terminate()
            assert process.wait(20) == 0
        finally:
            os.killpg(process.pid, 9)
    told = (tmp_path / "told").read_text().split()
    assert told[-1] == "http://gateway:9091/metrics/job/backbeam"
    assert {"--request", "PUT", "--data-binary"} <= set(told)
