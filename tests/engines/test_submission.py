"""The job that a Flink cluster would be given. A stand-in of its REST API takes it; this does not test Flink."""

import contextlib
import io
import json
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.helpers import Digits, backbeam

pytestmark = pytest.mark.engines


class StandIn(BaseHTTPRequestHandler):
    """Takes a jar and says of its job what the test chose."""

    def do_GET(self):
        if self.path.endswith("execution-result"):
            self.answer({"status": {"id": "COMPLETED"}})
        elif self.path.endswith("exceptions"):
            self.answer({"all-exceptions": [{"timestamp": 0, "exception": "the task manager was lost"}]})
        else:
            self.answer({"state": self.server.state})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, body))
        self.answer({"filename": "/jars/beam.jar", "jobid": "1234"})

    def do_DELETE(self):
        self.server.received.append((self.path, b""))
        self.answer({})

    def answer(self, what):
        data = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def flink(state):
    with ThreadingHTTPServer(("127.0.0.1", 0), StandIn) as server:
        server.state, server.received = state, []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def submit(server, folder):
    with zipfile.ZipFile(folder / "stand-in.jar", "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
    digits = Digits().write(folder / "digits")
    place = ("--dataset", digits, "--workspace", folder / "ws")
    told = ["--runner=FlinkRunner", f"--flink_master=localhost:{server.server_port}", "--flink_submit_uber_jar"]
    worker = ["--environment_type=EXTERNAL", "--environment_config=localhost:1"]
    jar = f"--flink_job_server_jar={folder / 'stand-in.jar'}"
    return backbeam("preprocess", *place, "--", *told, *worker, jar, timeout=60)


def test_a_job_that_fails_on_the_cluster_is_an_error_with_its_message(tmp_path):
    with flink("FAILED") as server:
        done = submit(server, tmp_path)
    assert done.code == 7
    assert "the task manager was lost" in done.err
    assert list((tmp_path / "ws" / "datasets").iterdir()) == []


def test_a_job_that_is_cancelled_is_an_error(tmp_path):
    with flink("CANCELED") as server:
        done = submit(server, tmp_path)
    assert done.code == 7
    assert list((tmp_path / "ws" / "datasets").iterdir()) == []


def test_the_jar_holds_our_pipeline(tmp_path):
    """A cluster that says it is done without a result is found out."""
    with flink("FINISHED") as server:
        done = submit(server, tmp_path)
    assert done.code == 7
    assert "wrote no manifest" in done.err
    paths = [path for path, _ in server.received]
    assert [re.sub(r"/v1", "", path) for path in paths] == ["/jars/upload", "/jars/beam.jar/run", "/jars/beam.jar"]
    upload = server.received[0][1]
    part = upload[upload.index(b"PK\x03\x04") : upload.rindex(b"\r\n--")]
    with zipfile.ZipFile(io.BytesIO(part)) as jar:
        pipeline = json.loads(jar.read("BEAM-PIPELINE/pipeline/pipeline.json"))
    names = {transform["uniqueName"] for transform in pipeline["components"]["transforms"].values()}
    assert {"ReadBlock", "PartitionByShard", "WriteShard", "WriteManifest"} <= names
