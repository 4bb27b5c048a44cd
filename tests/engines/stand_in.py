"""Stand-ins, on loopback, for the services that take jobs: Flink's and Spark's REST API, and Dataflow's.

    python -m tests.engines.stand_in flink --port PORT --folder FOLDER --ends DONE

Each takes a job as its service does, runs the pipeline that was submitted in a process of its own (`run_staged`, with
the workers' environment swapped), and says what became of it. That tests what backbeam submits and what it makes of
the answers; it tests neither Flink nor Spark nor Dataflow.

Into its folder a stand-in writes what a user would have: a jar of the job server, or credentials. What it is sent it
keeps in FOLDER/received: requests.txt, job.json, job.jar, pipeline.pb.
"""

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from apache_beam.portability.api import beam_runner_api_pb2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.protobuf import json_format

JAR_NAME, CREDENTIALS_NAME = "job-server.jar", "credentials.json"
STAGED_IN_JAR = "BEAM-PIPELINE/pipeline/pipeline.json"
MESSAGE = "the machine of worker 7 was lost"


class Cluster:
    """Runs what is submitted, one job after another, or claims the end that was asked for.

    Attributes:
        folder: for what is received.
        ends: DONE to run jobs; FAILED, CANCELLED, NOTHING (done, but without a result) or NEVER to run none.
    """

    def __init__(self, folder: Path, ends: str) -> None:
        self.folder, self.ends = folder, ends
        self._worker: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)

    def note(self, request: str) -> None:
        with (self.folder / "requests.txt").open("a") as stream:
            stream.write(f"{request}\n")

    def start(self, pipeline: bytes) -> None:
        (self.folder / "pipeline.pb").write_bytes(pipeline)
        if self.ends == "DONE":
            command = [sys.executable, "-m", "tests.engines.run_staged", str(self.folder / "pipeline.pb")]
            with (self.folder / "worker.log").open("wb") as log:
                self._worker = subprocess.Popen(command, stdout=log, stderr=log)

    def start_jar(self, jar: bytes) -> None:
        (self.folder / "job.jar").write_bytes(jar)
        with zipfile.ZipFile(io.BytesIO(jar)) as opened:
            staged = json_format.Parse(opened.read(STAGED_IN_JAR), beam_runner_api_pb2.Pipeline())
        self.start(staged.SerializeToString())

    def state(self) -> str:
        if self.ends != "DONE":
            return {"NOTHING": "DONE", "NEVER": "RUNNING"}.get(self.ends, self.ends)
        code = self._worker.poll() if self._worker else None
        return "RUNNING" if code is None else "FAILED" if code else "DONE"

    def message(self) -> str:
        if self._worker is None:
            return MESSAGE
        if self._worker.returncode < 0:
            return f"the worker was killed by signal {-self._worker.returncode}"
        return (self.folder / "worker.log").read_text().splitlines()[-1]


class StandIn(BaseHTTPRequestHandler):
    """What the stand-ins have in common: requests are noted, answers are JSON."""

    cluster: ClassVar[Cluster]

    def do_request(self) -> None:
        self.cluster.note(f"{self.command} {self.path}")
        path = urllib.parse.urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.command == "GET":
            self.answer(*self.get(path))
        elif self.command == "POST":
            self.answer(*self.post(path, body))
        elif self.command == "PATCH":
            self.answer(*self.patch(path))
        else:  # what is put is answered
            self.answer(json.loads(body or b"{}"))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_request  # noqa: N815

    def get(self, path: str) -> tuple[Any, int]:
        raise AssertionError(path)

    def post(self, path: str, body: bytes) -> tuple[dict[str, Any], int]:
        raise AssertionError(path)

    def patch(self, path: str) -> tuple[dict[str, Any], int]:
        raise AssertionError(path)

    def answer(self, what: Any, status: int = 200) -> None:
        data = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing: requests are noted already."""


class Flink(StandIn):
    """Flink's job manager: a jar is uploaded, then run."""

    STATES: ClassVar[dict[str, str]] = {"DONE": "FINISHED", "CANCELLED": "CANCELED"}

    CLUSTER: ClassVar[dict[str, Any]] = {  # of one task manager
        "/v1/jobmanager/config": [{"key": "parallelism.default", "value": "1"}],
        "/v1/overview": {"slots-total": 2},
        "/v1/taskmanagers": {"taskmanagers": [{"path": "pekko.tcp://flink@localhost:6122/user/rpc/taskmanager_0"}]},
    }

    def get(self, path: str) -> tuple[Any, int]:
        state = self.cluster.state()
        if path in self.CLUSTER:
            return self.CLUSTER[path], 200
        if path == "/v1/jobs/overview":
            return {"jobs": [self.describe(state)] if (self.cluster.folder / "job.jar").exists() else []}, 200
        if path.endswith("/execution-result"):
            return {"status": {"id": "IN_PROGRESS" if state == "RUNNING" else "COMPLETED"}}, 200
        if path.endswith("/exceptions"):
            failed = [{"timestamp": 0, "exception": self.cluster.message()}] if state == "FAILED" else []
            return {"all-exceptions": failed}, 200
        return {"state": self.STATES.get(state, state)}, 200

    def describe(self, state: str) -> dict[str, Any]:
        with zipfile.ZipFile(self.cluster.folder / "job.jar") as jar:
            options = json.loads(jar.read("BEAM-PIPELINE/pipeline/pipeline-options.json"))
        name = options["beam:option:job_name:v1"]  # as Beam's runner gives it to Flink
        return {"jid": "1234", "name": name, "state": self.STATES.get(state, state)}

    def post(self, path: str, body: bytes) -> tuple[dict[str, Any], int]:
        uploaded = self.cluster.folder / "upload.jar"
        if path == "/v1/jars/upload":  # a form with one file
            uploaded.write_bytes(body[body.index(b"PK\x03\x04") : body.rindex(b"\r\n--")])
            return {"filename": "/somewhere/beam.jar", "status": "success"}, 200
        if path != "/v1/jars/beam.jar/run":
            return {"errors": [f"Not found: {path}"]}, 404
        self.cluster.start_jar(uploaded.read_bytes())
        return {"jobid": "1234"}, 200

    def patch(self, path: str) -> tuple[dict[str, Any], int]:
        self.cluster.ends = "CANCELLED"
        return ({}, 202) if path == "/v1/jobs/1234" else ({"errors": [f"Job could not be found: {path}"]}, 404)


class Spark(StandIn):
    """Spark's master: it is told the path of a jar, which it must see."""

    STATES: ClassVar[dict[str, str]] = {"DONE": "FINISHED", "CANCELLED": "KILLED"}

    def get(self, path: str) -> tuple[dict[str, Any], int]:
        if path == "/":  # any unknown request is told the version
            return {"action": "ErrorResponse", "serverSparkVersion": "3.5.0"}, 400
        state = self.cluster.state()
        about = {"message": self.cluster.message()} if state == "FAILED" else {}
        return {"driverState": self.STATES.get(state, state), "success": True} | about, 200

    def post(self, path: str, body: bytes) -> tuple[dict[str, Any], int]:
        submission = json.loads(body)
        (self.cluster.folder / "job.json").write_bytes(body)
        self.cluster.start_jar(Path(submission["appResource"].removeprefix("file:")).read_bytes())
        return {"submissionId": "driver-1234", "success": True}, 200


class Dataflow(StandIn):
    """Dataflow: a job names a pipeline in Cloud Storage. It hands out access tokens too."""

    def get(self, path: str) -> tuple[dict[str, Any], int]:
        state = self.cluster.state()
        if path.endswith("/messages"):
            return {"jobMessages": [self._message()] if state == "FAILED" else []}, 200
        return self._job(state), 200

    def post(self, path: str, body: bytes) -> tuple[dict[str, Any], int]:
        if path == "/token":
            return {"access_token": "nobody-asks", "expires_in": 3600, "token_type": "Bearer"}, 200
        (self.cluster.folder / "job.json").write_bytes(body)
        options = json.loads(body)["environment"]["sdkPipelineOptions"]["options"]
        self.cluster.start(read_object(options["pipelineUrl"]))
        return self._job("RUNNING"), 200

    def _message(self) -> dict[str, Any]:
        about = {"id": "1", "time": "2026-01-01T00:00:00Z", "messageImportance": "JOB_MESSAGE_ERROR"}
        return about | {"messageText": self.cluster.message()}

    @staticmethod
    def _job(state: str) -> dict[str, Any]:
        return {"id": "2026-1234", "name": "backbeam", "currentState": f"JOB_STATE_{state}"}


SERVICES: dict[str, type[StandIn]] = {"flink": Flink, "spark": Spark, "dataflow": Dataflow}


def read_object(uri: str) -> bytes:
    """Read gs://BUCKET/NAME from the emulator of Cloud Storage."""
    found = re.fullmatch("gs://([^/]+)/(.+)", uri)
    assert found, uri
    bucket, name = found[1], urllib.parse.quote(found[2], safe="")
    address = f"{os.environ['STORAGE_EMULATOR_HOST']}/download/storage/v1/b/{bucket}/o/{name}?alt=media"
    with urllib.request.urlopen(address, timeout=30) as response:  # noqa: S310 - on loopback
        data: bytes = response.read()
    return data


def write_jar(place: Path) -> None:
    """Write what stands for a job server's jar: submitting adds the pipeline to it."""
    with zipfile.ZipFile(place, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")


def write_credentials(place: Path, port: int) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    account = {
        "type": "service_account",
        "project_id": "backbeam-test",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "backbeam@backbeam-test.example",
        "token_uri": f"http://localhost:{port}/token",
    }
    place.write_text(json.dumps(account))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("service", choices=SERVICES)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--ends", choices=("DONE", "FAILED", "CANCELLED", "NOTHING", "NEVER"), default="DONE")
    asked = parser.parse_args()
    shutil.rmtree(asked.folder / "received", ignore_errors=True)  # of a stand-in that served before
    handler = SERVICES[asked.service]
    handler.cluster = Cluster(asked.folder / "received", asked.ends)
    write_jar(asked.folder / JAR_NAME)
    write_credentials(asked.folder / CREDENTIALS_NAME, asked.port)
    with ThreadingHTTPServer(("127.0.0.1", asked.port), handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
