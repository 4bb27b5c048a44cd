"""The job that Dataflow would be given, built without any network: as a template, which is looked at, and as a dry run.

A job that is sent, and its pipeline run, is in test_submission and, as an engine of the catalogue, in test_engines.
"""

import base64
import bz2
import json
from importlib.util import find_spec

import pytest

from tests.engines.isolation import isolated
from tests.helpers import BACKBEAM, Digits

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(not find_spec("apitools"), reason="needs the extra `gcp`"),
]

WHERE = ("--runner=DataflowRunner", "--project=backbeam-test", "--region=europe-west1", "--no_auth")
IMAGE = "registry.example/backbeam:1"


def preprocess(folder, *told):
    digits = Digits().write(folder / "digits")
    place = ("--dataset", digits, "--workspace", folder / "ws")
    [done] = isolated([[BACKBEAM, "preprocess", *place, *told]], {}, folder)
    return done


def make_template(folder, *told):
    """Build a job that waits in a file, with all that goes with it in folders."""
    (folder / "staging").mkdir()
    places = {
        "template_location": folder / "template.json",
        "staging_location": folder / "staging",
        "temp_location": folder / "temp",
        "dataflow_endpoint": "http://localhost:9",
    }
    return preprocess(folder, "--", *WHERE, *(f"--{name}={value}" for name, value in places.items()), *told)


def job_in(folder):
    return json.loads((folder / "template.json").read_text())


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataflow")
    wheel = folder / "backbeam-0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel that nobody installs here")
    return folder, make_template(folder, f"--extra_package={wheel}")


def test_a_template_is_no_data_set(template):
    """Nothing ran, so backbeam says that there is no result and leaves none."""
    folder, done = template
    assert done.code == 0, done.err
    assert f"--template_location={folder / 'template.json'}: the job was built and not run" in done.out
    assert list((folder / "ws" / "datasets").iterdir()) == []


def test_a_dry_run_sends_nothing_and_makes_nothing(tmp_path):
    """Not even staging: there is no network, and none of these buckets."""
    locations = ("--temp_location=gs://backbeam-test/temp", "--staging_location=gs://backbeam-test/staging")
    done = preprocess(tmp_path, "--json", "--", *WHERE, *locations, "--dry_run=True")
    assert done.code == 0, done.err
    assert "--dry_run=True: the job was built and not run" in done.json["nothing_run"]
    assert list((tmp_path / "ws" / "datasets").iterdir()) == []
    assert not (tmp_path / "ws" / "reports").exists()


def test_functions_are_named_not_pickled_by_value(template):
    """A worker imports ours from the package that is installed there; nothing is of __main__."""
    from apache_beam.portability.api import beam_runner_api_pb2

    staged = beam_runner_api_pb2.Pipeline.FromString((template[0] / "staging" / "pipeline.pb").read_bytes())
    steps = [x for x in staged.components.transforms.values() if x.spec.urn == "beam:transform:pardo:v1"]
    payloads = [beam_runner_api_pb2.ParDoPayload.FromString(x.spec.payload).do_fn.payload for x in steps]
    pickled = [bz2.decompress(base64.b64decode(payload)) for payload in payloads]
    assert not [data for data in pickled if b"__main__" in data]
    ours = [data for data in pickled if b"pipeline.preprocess.beam_job" in data]
    for name in (b"cut_blocks", b"write_shards", b"write_manifest"):
        assert any(name in data for data in ours)


def test_a_container_image_is_what_workers_run_in(tmp_path):
    """The launcher may run in the same one."""
    done = make_template(tmp_path, f"--sdk_container_image={IMAGE}", "--sdk_location=container")
    assert done.code == 0, done.err
    [pool] = job_in(tmp_path)["environment"]["workerPools"]
    assert pool["workerHarnessContainerImage"] == IMAGE
    assert [image["containerImage"] for image in pool["sdkHarnessContainerImages"]] == [IMAGE]


def test_the_runner_is_refused_with_its_reason_where_an_option_is_missing(tmp_path):
    done = preprocess(tmp_path, "--", "--runner=DataflowRunner", "--region=europe-west1")
    assert done.code in (2, 7)
    assert "project" in done.err
    assert list((tmp_path / "ws" / "datasets").iterdir()) == []
