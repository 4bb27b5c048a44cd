"""The engines that are tested: how each is asked for, and which servers it needs.

The table of the notes comes from here: `python -m tests.engines.catalogue` writes it into deploy/engines.md.
"""

import os
import shutil
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest

NOTES = Path(__file__).parents[2] / "deploy" / "engines.md"
BEGIN, END = "<!-- table of tests/engines/catalogue.py -->\n", "<!-- end of table -->\n"

JOB_SERVICE = [sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main", "--port", "{port}"]
WORKER_POOL = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", "--service_port={port}"]
STAND_IN = [sys.executable, "-m", "tests.engines.stand_in", "--port={port}", "--folder={folder}"]
CLOUD_STORAGE = [
    str(Path(sys.executable).with_name("gcp-storage-emulator")),
    *("start", "--host=localhost", "--port={port}", "--in-memory", "--default-bucket=backbeam-test"),
]
SERVERS = {
    "job": JOB_SERVICE,
    "pool": WORKER_POOL,
    "storage": CLOUD_STORAGE,
    **{name: [*STAND_IN, name] for name in ("flink", "spark", "dataflow")},
}
PORTABLE = ("--", "--runner=PortableRunner", "--job_endpoint=localhost:{job}")
PRISM = ("--", "--runner=PrismRunner", "--prism_location={prism}")
EXTERNAL = ("--environment_type=EXTERNAL", "--environment_config=localhost:{pool}")
CHILD = (
    "--environment_type=beam:env:harness_subprocess_python:v1",
    f"--environment_config={sys.executable} -m apache_beam.runners.worker.sdk_worker_main",
)
PROGRAMS = {  # that stand in an engine's arguments, and how they are come by
    "prism": "Prism, which `make test-engines` builds where there is Go",
    "flink_master": "a running Flink cluster, whose only task manager is on this machine, as HOST:PORT",
    "flink_jar": "Beam's job server for Flink (Java), which could not be had",
    "spark_jar": "Beam's job server for Spark (Java), which could not be had",
}
NOBODY = ("--environment_type=EXTERNAL", "--environment_config=localhost:1")  # a stand-in has workers of its own
JAR = "--{}_job_server_jar={{folder}}/job-server.jar"
FLINK = (
    "--",
    "--runner=FlinkRunner",
    "--flink_master=localhost:{flink}",
    "--flink_submit_uber_jar",
    JAR.format("flink"),
)
SPARK = (
    "--",
    "--runner=SparkRunner",
    "--spark_rest_url=http://localhost:{spark}",
    "--spark_submit_uber_jar",
    JAR.format("spark"),
)
DATAFLOW = (
    *("--", "--runner=DataflowRunner", "--dataflow_endpoint=http://localhost:{dataflow}"),
    *("--project=backbeam-test", "--region=europe-west1"),
    *("--temp_location=gs://backbeam-test/temp", "--staging_location=gs://backbeam-test/staging"),
)
CLOUD = {
    "STORAGE_EMULATOR_HOST": "http://localhost:{storage}",
    "GOOGLE_APPLICATION_CREDENTIALS": "{folder}/credentials.json",
}


@dataclass(frozen=True)
class Engine:
    """An engine to test: its name, what backbeam is told, its servers, and when it runs."""

    name: str
    arguments: tuple[str, ...]
    servers: tuple[str, ...] = ()
    killed: str = ""  # what a killed worker means; empty where the driver does the work
    quick: bool = False  # whether `make test-thorough` runs it; `make test-engines` runs the others
    environment: dict[str, str] = field(default_factory=dict)  # variables for backbeam and the servers
    needs: str = "apache_beam"  # a module that the engine cannot do without
    own_network: bool = True  # whether it runs in a network of its own

    @property
    def server_commands(self) -> dict[str, list[str]]:
        return {name: SERVERS[name] for name in self.servers}

    def told(self) -> list[str]:
        """What backbeam is told; skips the test where the engine is not installed."""
        if not find_spec(self.needs):
            pytest.skip(f"needs {self.needs}, which the extra `engines` brings")
        told = list(self.arguments)
        for name, advice in PROGRAMS.items():
            if any(f"{{{name}}}" in argument for argument in told):
                place = os.environ.get(f"BACKBEAM_TEST_{name.upper()}") or shutil.which(name)
                if not place:
                    pytest.skip(f"needs {advice}, or BACKBEAM_TEST_{name.upper()} that names it")
                told = [argument.replace(f"{{{name}}}", place) for argument in told]
        return told


FAILS = "exit code 7, nothing left; the next run gives the same bytes"

CHILDREN = Engine(
    "Python job service, two child processes", (*PORTABLE, *CHILD, "--direct_num_workers=2"), ("job",), FAILS
)
LOCAL = (
    Engine("this process", ()),
    Engine("this process, every bundle twice", ("--", "--direct_runner_bundle_repeat=1")),
    Engine("this process, failed bundles again", ("--", "--runner=BundleBasedDirectRunner")),
    Engine("worker processes (`--workers 2`)", ("--workers", "2"), killed=FAILS, quick=True),
    Engine("Python job service, loopback", (*PORTABLE, "--environment_type=LOOPBACK"), ("job",)),
    Engine("Python job service, child process", (*PORTABLE, *CHILD), ("job",), killed=FAILS, quick=True),
    CHILDREN,
    Engine("Python job service, worker pool", (*PORTABLE, *EXTERNAL), ("job", "pool"), killed=FAILS),
    Engine("Prism, loopback", PRISM),
    Engine("Prism, worker pool", (*PRISM, *EXTERNAL), ("pool",), killed=FAILS),
)
STAND_INS = (
    Engine("stand-in for Flink", (*FLINK, *NOBODY), ("flink",), killed=FAILS),
    Engine("stand-in for Spark", (*SPARK, *NOBODY), ("spark",), killed=FAILS),
    Engine("stand-in for Dataflow", DATAFLOW, ("storage", "dataflow"), FAILS, False, CLOUD, "gcp_storage_emulator"),
)
ENGINES = (*LOCAL, *STAND_INS)
# Never run so far, so not in the table.
EMBEDDED = (
    Engine(
        "Flink, embedded cluster",
        ("--", "--runner=FlinkRunner", "--flink_master=[local]", "--flink_job_server_jar={flink_jar}"),
    ),
    Engine("Spark, embedded cluster", ("--", "--runner=SparkRunner", "--spark_job_server_jar={spark_jar}")),
)
# One that runs already, which only who tests has: not in the table either.
FLINK_CLUSTER = Engine(
    "Flink, running cluster",
    (
        *("--", "--runner=FlinkRunner", "--flink_master={flink_master}", "--flink_submit_uber_jar"),
        *("--flink_job_server_jar={flink_jar}", *EXTERNAL),
    ),
    ("pool",),
    killed=FAILS,
    own_network=False,
)
KILLABLE = tuple(engine for engine in (*ENGINES, FLINK_CLUSTER) if engine.killed)


def table() -> str:
    head = "| engine | preprocess | evaluate | digests equal | worker killed | run by |\n|---|---|---|---|---|---|\n"
    rows = [
        f"| {engine.name} | yes | yes | yes | {engine.killed or 'no worker but the driver'} | "
        f"`make {'test-thorough' if engine.quick else 'test-engines'}` |\n"
        for engine in ENGINES
    ]
    return head + "".join(rows)


def with_table(notes: str) -> str:
    before, rest = notes.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    NOTES.write_text(with_table(NOTES.read_text()))
