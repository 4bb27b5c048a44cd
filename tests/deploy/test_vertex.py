"""The custom job: fields that the API has (google.cloud.aiplatform says so where it is installed), and the command."""

import pytest

from tests.deploy.parts import DEPLOY, check_command, documents

[JOB] = documents(DEPLOY / "vertex" / "custom-job.yaml")
[POOL] = JOB["workerPoolSpecs"]


def test_the_api_takes_it():
    pytest.importorskip("google.cloud.aiplatform_v1", reason="needs google-cloud-aiplatform, of Beam's extra gcp")
    from google.cloud.aiplatform_v1.types import CustomJobSpec
    from google.protobuf.json_format import ParseDict

    spec = CustomJobSpec(mapping=None)
    ParseDict(JOB, CustomJobSpec.pb(spec))  # raises for a field or a value that is none
    assert spec.worker_pool_specs[0].machine_spec.accelerator_type.name == "NVIDIA_L4"
    assert spec.scheduling.timeout.total_seconds() > 0


def test_the_command():
    container = POOL["containerSpec"]
    assert container["command"] == ["backbeam"]
    check_command(container["args"])
    assert "--device=gpu" in container["args"]  # so a machine without one is an error, not a slow run
    assert "backbeam-gpu" in container["imageUri"]
