"""What a container of Beam's does before its worker starts: fetch what was staged, install it, become the worker.

A worker pool runs it (--container_executable) by the interpreter that the worker is to have.
"""

import argparse
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import grpc
from apache_beam.portability.api import (
    beam_artifact_api_pb2,
    beam_artifact_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    beam_runner_api_pb2,
)
from google.protobuf import json_format


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("id", "logging_endpoint", "artifact_endpoint", "provision_endpoint", "control_endpoint"):
        parser.add_argument(f"--{name}", required=True)
    asked = parser.parse_args()
    info = provision(asked.provision_endpoint, asked.id)
    folder = Path(os.environ["TMPDIR"]) / asked.id
    folder.mkdir()
    for name in fetch(asked.artifact_endpoint, asked.id, info.dependencies, folder):
        install(folder / name)
    os.environ["WORKER_ID"] = asked.id
    os.environ["PIPELINE_OPTIONS"] = json_format.MessageToJson(info.pipeline_options)
    for name in ("logging", "control"):
        os.environ[f"{name.upper()}_API_SERVICE_DESCRIPTOR"] = f'url: "{getattr(asked, f"{name}_endpoint")}"'
    os.execv(sys.executable, [sys.executable, "-m", "apache_beam.runners.worker.sdk_worker_main"])  # noqa: S606


def provision(endpoint: str, worker: str) -> Any:
    with grpc.insecure_channel(endpoint) as channel:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        return service.GetProvisionInfo(request, metadata=[("worker_id", worker)]).info


def fetch(endpoint: str, worker: str, dependencies: Any, folder: Path) -> list[str]:
    names = []
    with grpc.insecure_channel(endpoint) as channel:
        service = beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceStub(channel)
        resolved = service.ResolveArtifacts(beam_artifact_api_pb2.ResolveArtifactsRequest(artifacts=dependencies))
        for artifact in resolved.replacements:
            role = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(artifact.role_payload)
            chunks = service.GetArtifact(beam_artifact_api_pb2.GetArtifactRequest(artifact=artifact))
            (folder / role.staged_name).write_bytes(b"".join(chunk.data for chunk in chunks))
            names.append(role.staged_name)
    return [name for name in names if name.endswith((".whl", ".tar.gz"))]


def install(package: Path) -> None:
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed", "--quiet"]
    target = ["--target", sysconfig.get_path("purelib"), str(package)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *target], check=True)


if __name__ == "__main__":
    main()
