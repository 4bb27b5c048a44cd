"""Jobs for Dataflow, without Dataflow: a dry run, and a Flex Template's launcher and the job that waits in its file.

The launcher only has a job built. What the stage does after a job, the next command does, which finds the data set.
A job that is sent, and its pipeline run, is in test_submission and, as an engine of the catalogue, in test_engines.
"""

import base64
import bz2
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.emulators import google
from tests.engines.stages import preprocess_isolated
from tests.helpers import BACKBEAM, Digits, backbeam

pytestmark = [pytest.mark.engines, pytest.mark.skipif(not find_spec("apitools"), reason="needs the extra `gcp`")]

ROOT = Path(__file__).parents[2]
IMAGE = "registry.example/backbeam:1"
WHERE = ("--runner=DataflowRunner", "--project=backbeam-test", "--region=europe-west1", "--no_auth")


def test_a_dry_run_sends_nothing_and_makes_nothing(tmp_path):
    """Not even staging: there is no network, and none of these buckets."""
    locations = ("--temp_location=gs://backbeam-test/temp", "--staging_location=gs://backbeam-test/staging")
    done = preprocess_isolated(tmp_path, "--json", "--", *WHERE, *locations, "--dry_run=True")
    assert done.code == 0, done.err
    assert "--dry_run=True: the job was built and not run" in done.json["nothing_run"]
    assert not list(tmp_path.glob("ws/datasets/*"))
    assert not (tmp_path / "ws" / "reports").exists()


def test_the_runner_is_refused_with_its_reason_where_an_option_is_missing(tmp_path):
    done = preprocess_isolated(tmp_path, "--", "--runner=DataflowRunner", "--region=europe-west1")
    assert done.code in (2, 7)
    assert "project" in done.err
    assert not list(tmp_path.glob("ws/datasets/*"))


@pytest.fixture
def bucket(tmp_path):
    with google(tmp_path) as store:
        for name, data in Digits().files().items():
            store.put(f"digits/{name}", data)
        yield store


def launch(bucket, folder, *more):
    """Run what the launcher runs, with what it gives: the template's parameters, and Dataflow's options."""
    (folder / "staging").mkdir()
    ours = {"workspace": bucket.uri("ws"), "dataset": bucket.uri("digits"), "config": ROOT / "deploy" / "backbeam.toml"}
    ours |= {"num_shards": 2, "shuffle_seed": 1, "max_rejected": 0}
    beam = {"runner": "DataflowRunner", "project": "backbeam-test", "region": "europe-west1", "job_name": "preprocess"}
    beam |= {"template_location": folder / "job_object", "staging_location": folder / "staging"}
    beam |= {"temp_location": folder / "temp", "dataflow_endpoint": "http://localhost:9", "sdk_location": "container"}
    given = [f"--{name}={value}" for name, value in (ours | beam).items()]
    path = f"{BACKBEAM.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, ROOT / "deploy" / "dataflow" / "launch.py", *given, "--no_auth", *more],
        env=os.environ | bucket.environment | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


def run_job(bucket, folder):
    return subprocess.run(
        [sys.executable, "-m", "tests.engines.run_staged", folder / "staging" / "pipeline.pb"],
        env=os.environ | bucket.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def check_functions(pipeline):
    """Functions are named, not pickled by value: a worker imports ours from the package that is installed there."""
    from apache_beam.portability.api import beam_runner_api_pb2

    staged = beam_runner_api_pb2.Pipeline.FromString(pipeline.read_bytes())
    steps = [x for x in staged.components.transforms.values() if x.spec.urn == "beam:transform:pardo:v1"]
    payloads = [beam_runner_api_pb2.ParDoPayload.FromString(x.spec.payload).do_fn.payload for x in steps]
    pickled = [bz2.decompress(base64.b64decode(payload)) for payload in payloads]
    assert not [data for data in pickled if b"__main__" in data]
    ours = [data for data in pickled if b"pipeline.preprocess.beam_job" in data]
    for name in (b"cut_blocks", b"write_shards", b"write_manifest"):
        assert any(name in data for data in ours)


def test_a_container_image_is_what_workers_run_in(bucket, tmp_path):
    done = launch(bucket, tmp_path, f"--sdk_container_image={IMAGE}")
    assert done.returncode == 0, done.stderr
    [pool] = json.loads((tmp_path / "job_object").read_text())["environment"]["workerPools"]
    assert pool["workerHarnessContainerImage"] == IMAGE


def test_the_launched_job_makes_the_data_set_that_the_next_command_goes_on_with(bucket, tmp_path):
    done = launch(bucket, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the job was built and not run" in done.stdout
    assert json.loads((tmp_path / "job_object").read_text())["type"] == "JOB_TYPE_BATCH"
    assert bucket.names("ws/datasets") == []
    check_functions(tmp_path / "staging" / "pipeline.pb")
    ran = run_job(bucket, tmp_path)
    assert ran.returncode == 0, ran.stderr
    made = bucket.contents("ws/datasets")
    place = ("--workspace", bucket.uri("ws"), "--dataset", bucket.uri("digits"), "--num-shards", 2)
    environment = bucket.environment | {"BACKBEAM_CACHE_DIR": str(tmp_path / "cache")}
    after = backbeam("preprocess", *place, "--json", environment=environment)
    assert after.code == 0, after.err
    assert "preprocess" in after.json["skipped"]
    assert {name: bucket.contents("ws/datasets")[name] for name in made} == made
    here = backbeam("preprocess", "--workspace", tmp_path / "ws", *place[2:], "--json", environment=environment)
    assert here.code == 0, here.err
    assert here.json["dataset_digest"] == after.json["dataset_digest"]
