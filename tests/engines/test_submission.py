"""What Flink, Spark and Dataflow are sent, and what their answers lead to: stand-ins for their services take the job.

The stand-ins also run what they are sent, as engines of the catalogue: see test_engines.
"""

import hashlib
import json
import shlex

import pytest

from tests.engines.catalogue import STAND_INS
from tests.engines.isolation import isolated
from tests.engines.stages import check_shards, preprocess_isolated
from tests.engines.stand_in import MESSAGE
from tests.helpers import BACKBEAM, Digits

pytestmark = pytest.mark.engines
FLINK, SPARK, DATAFLOW = STAND_INS
ON_EACH = pytest.mark.parametrize("engine", [pytest.param(engine, id=engine.name) for engine in STAND_INS])
JOBS = "/v1b3/projects/backbeam-test/locations/europe-west1/jobs"


def submit(engine, folder, ends, *more):
    servers = engine.server_commands
    last = engine.servers[-1]
    servers[last] = [*servers[last], f"--ends={ends}"]
    return preprocess_isolated(folder, *engine.told(), *more, servers=servers, environment=engine.environment)


def requests(folder):
    lines = (folder / "received" / "requests.txt").read_text().splitlines()
    return [line.split("?")[0] for line in lines]


@ON_EACH
@pytest.mark.parametrize(
    ("ends", "message"), [("FAILED", MESSAGE), ("CANCELLED", "CANCELLED"), ("NOTHING", "wrote no manifest")]
)
def test_a_job_that_fails_is_cancelled_or_has_no_result_is_an_error(ends, message, engine, tmp_path):
    done = submit(engine, tmp_path, ends)
    assert done.code == 7, done.err
    assert len(done.err.splitlines()) == 2, done.err  # what it is at, and how that ended
    assert message in done.err
    assert not list(tmp_path.glob("ws/datasets/*"))


def test_spark_is_told_where_the_jar_is(tmp_path):
    """Below the workspace, since a cluster can see that."""
    done = submit(SPARK, tmp_path, "DONE")
    assert done.code == 0, done.err
    assert requests(tmp_path).count("POST /v1/submissions/create") == 1
    job = json.loads((tmp_path / "received" / "job.json").read_text())
    assert job["mainClass"] == "org.apache.beam.runners.spark.SparkPipelineRunner"
    assert job["appResource"].startswith(f"file:{tmp_path}/ws/.temporary/")
    check_shards(tmp_path)


def test_dataflow_is_sent_a_job_whose_pipeline_and_wheel_lie_in_the_bucket(tmp_path):
    wheel = tmp_path / "backbeam-0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel that nobody installs here")
    done = submit(DATAFLOW, tmp_path, "DONE", f"--extra_package={wheel}")
    assert done.code == 0, done.err
    check_shards(tmp_path)
    assert requests(tmp_path).count(f"POST {JOBS}") == 1
    job = json.loads((tmp_path / "received" / "job.json").read_text())
    options = job["environment"]["sdkPipelineOptions"]["options"]
    assert options["pipelineUrl"].startswith("gs://backbeam-test/staging/")
    sent = (tmp_path / "received" / "pipeline.pb").read_bytes()
    assert options["pipelineProtoHash"] == hashlib.sha256(sent).hexdigest()
    assert options["save_main_session"] is False
    packages = {package["name"]: package["location"] for package in job["environment"]["workerPools"][0]["packages"]}
    assert packages[wheel.name].startswith("storage.googleapis.com/backbeam-test/staging/")
    assert not [name for name in packages if "session" in name]


@pytest.mark.parametrize(
    ("engine", "received", "asked"),
    [
        (FLINK, "job.jar", ["PATCH /v1/jobs/1234", "DELETE /v1/jars/beam.jar"]),
        (DATAFLOW, "pipeline.pb", [f"PUT {JOBS}/2026-1234"]),
    ],
    ids=["Flink", "Dataflow"],
)
def test_a_job_is_cancelled_when_the_command_is_told_to_end(engine, received, asked, tmp_path):
    """Else the cluster would go on, and write to a workspace that was cleared."""
    digits, servers = Digits().write(tmp_path / "digits"), engine.server_commands
    last = engine.servers[-1]
    servers[last] = [*servers[last], "--ends=NEVER"]
    command = [BACKBEAM, "preprocess", "--dataset", digits, "--workspace", tmp_path / "ws", *engine.told()]
    received = shlex.quote(str(tmp_path / "received" / received))
    script = f'"$@" & until test -e {received}; do sleep 0.1; done; sleep 2; kill -TERM $!; wait $!'
    [done] = isolated([["sh", "-c", script, "sh", *command]], servers, tmp_path, engine.environment)
    assert done.code == 143, done.err
    assert not list(tmp_path.glob("ws/datasets/*"))
    assert [line for line in requests(tmp_path) if line.startswith(("PUT", "PATCH", "DELETE"))] == asked
    assert engine is not FLINK or "cancelled job 1234 on http://localhost:" in done.err
    assert "warning" not in done.err
