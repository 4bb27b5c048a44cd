"""The job that Dataflow would be given: made without any network, looked at, and run here."""

import base64
import bz2
import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.engines.isolation import isolated
from tests.helpers import BACKBEAM, Digits, backbeam, contents

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(not find_spec("apitools"), reason="needs the extra `gcp`"),
]

RUN_STAGED = """
import sys
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import EmbeddedPythonEnvironment

staged = beam_runner_api_pb2.Pipeline.FromString(open(sys.argv[1], "rb").read())
for environment in staged.components.environments.values():
    environment.CopyFrom(EmbeddedPythonEnvironment.default().to_runner_api(None))
print(FnApiRunner().run_via_runner_api(staged, PipelineOptions([])).wait_until_finish())
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A template of a preprocessing job with backbeam staged by wheel, and what it was told."""
    folder = tmp_path_factory.mktemp("dataflow")
    wheel = folder / "backbeam-0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel that nobody installs here")
    digits = Digits().write(folder / "digits")
    options = {
        "runner": "DataflowRunner",
        "project": "backbeam-test",
        "region": "europe-west1",
        "template_location": folder / "template.json",
        "staging_location": folder / "staging",
        "temp_location": folder / "temp",
        "dataflow_endpoint": "http://localhost:9",
        "extra_package": wheel,
    }
    (folder / "staging").mkdir()
    place = ("--dataset", digits, "--workspace", folder / "ws")
    told = ["--", "--no_auth", *(f"--{name}={value}" for name, value in options.items())]
    [done] = isolated([[BACKBEAM, "preprocess", *place, *told]], {}, folder)
    return folder, done


@pytest.fixture
def staged(template):
    from apache_beam.portability.api import beam_runner_api_pb2

    return beam_runner_api_pb2.Pipeline.FromString((template[0] / "staging" / "pipeline.pb").read_bytes())


def test_a_template_is_no_data_set(template):
    """Nothing ran, so backbeam says that there is no result and leaves none."""
    folder, done = template
    assert done.code == 7
    assert "wrote no manifest" in done.err
    assert list((folder / "ws" / "datasets").iterdir()) == []


def test_the_template_names_what_is_staged(template):
    folder, _ = template
    job = json.loads((folder / "template.json").read_text())
    options = job["environment"]["sdkPipelineOptions"]["options"]
    assert options["pipelineUrl"] == str(folder / "staging" / "pipeline.pb")
    assert options["save_main_session"] is False
    packages = {package["name"] for package in job["environment"]["workerPools"][0]["packages"]}
    assert "backbeam-0-py3-none-any.whl" in packages
    assert not [name for name in packages if "session" in name]
    assert not list((folder / "staging").rglob("pickled_main_session"))


def test_the_staged_pipeline_is_ours(staged):
    names = {transform.unique_name for transform in staged.components.transforms.values()}
    assert {"ReadBlock", "PartitionByShard", "WriteShard", "WriteManifest"} <= names


def test_functions_are_named_not_pickled_by_value(staged):
    """A worker imports ours from the package that is installed there; nothing is of __main__."""
    from apache_beam.portability.api import beam_runner_api_pb2

    steps = [x for x in staged.components.transforms.values() if x.spec.urn == "beam:transform:pardo:v1"]
    payloads = [beam_runner_api_pb2.ParDoPayload.FromString(x.spec.payload).do_fn.payload for x in steps]
    pickled = [bz2.decompress(base64.b64decode(payload)) for payload in payloads]
    assert not [data for data in pickled if b"__main__" in data]
    ours = [data for data in pickled if b"pipeline.preprocess" in data]
    for name in (b"read_block", b"partition_by_shard", b"write_shard", b"write_manifest"):
        assert any(name in data for data in ours)


def test_the_staged_pipeline_makes_the_same_shards(template):
    folder, _ = template
    expected = backbeam("preprocess", "--dataset", folder / "digits", "--workspace", folder / "expected")
    assert expected.code == 0, expected.err
    [made] = (folder / "expected" / "datasets").iterdir()
    target = folder / "ws" / "datasets" / made.name
    for place in (target, target.with_name(f".scratch-{made.name}")):
        place.mkdir()
    command = [sys.executable, "-c", RUN_STAGED, folder / "staging" / "pipeline.pb"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "DONE", done.stderr
    assert contents(target) == contents(made)
    shutil.rmtree(target.parent)


def test_the_runner_is_refused_with_its_reason_where_an_option_is_missing(tmp_path):
    digits = Digits().write(tmp_path / "digits")
    command = [BACKBEAM, "preprocess", "--dataset", digits, "--workspace", tmp_path / "ws", "--"]
    [done] = isolated([[*command, "--runner=DataflowRunner", "--region=europe-west1"]], {}, tmp_path)
    assert done.code in (2, 7)
    assert "project" in done.err
    assert not list(Path(tmp_path / "ws").rglob("*.tfrecord"))
