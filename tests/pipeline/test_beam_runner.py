import sys
from types import SimpleNamespace

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from model.errors import BadUsage, EngineFailed
from pipeline import beam_runner
from pipeline.beam_runner import FlinkCluster, _find_flink_cluster, _run_to_end, _translate_error, run_pipeline
from pipeline.processes import code_identity


def test_another_local_runner_runs_where_beam_has_not_imported_the_default_one(monkeypatch):
    monkeypatch.delattr(beam.runners.portability, "fn_api_runner", raising=False)
    arguments = ["--runner=BundleBasedDirectRunner"]
    run_pipeline(beam, PipelineOptions, arguments, lambda p: p | beam.Create([1]) | beam.Map(abs))


@pytest.mark.parametrize(
    "message",
    [
        "ModuleNotFoundError: No module named 'pipeline.beam_runner'",
        "ModuleNotFoundError: No module named 'model.errors'; 'model' is not a package",
        "AttributeError: Can't get attribute 'cut' on <module 'pipeline.preprocess' from '/old/p.py'>",
        "AttributeError: module 'pipeline' has no attribute 'preprocess'",
    ],
)
def test_a_worker_without_the_driver_s_code_is_reported_with_its_version(message):
    problem = _translate_error(RuntimeError(f"Traceback (most recent call last):\n  line 1\n{message}\n\n"))
    assert isinstance(problem, EngineFailed)
    assert message.partition(": ")[2] in str(problem)
    assert str(code_identity()) in str(problem)


def test_other_errors_of_an_engine_keep_their_message():
    problem = _translate_error(RuntimeError("Traceback\nModuleNotFoundError: No module named 'my_slices'\n"))
    assert str(problem) == "the engine failed: RuntimeError: ModuleNotFoundError: No module named 'my_slices'"


@pytest.fixture
def cluster(monkeypatch):
    """A Flink cluster of two task managers with a slot each, whose answers and requests are in attributes of this."""
    flink = SimpleNamespace(requests=[], jobs=[{"jid": "1", "name": "job", "state": "RUNNING"}], answers={})
    flink.answers = {
        "GET jobmanager/config": [{"key": "parallelism.default", "value": "2"}],
        "GET overview": {"slots-total": 2},
        "GET taskmanagers": {"taskmanagers": [{"path": f"pekko.tcp://flink@10.0.0.{n}:6122/user/x"} for n in (1, 2)]},
        "GET jobs/overview": {"jobs": flink.jobs},
    }

    def answer(self, method, path):
        flink.requests.append(f"{method} {path}")
        if method == "PATCH":
            flink.jobs[0]["state"] = "CANCELED"
        return flink.answers.get(f"{method} {path}", {})

    monkeypatch.setattr(FlinkCluster, "request", answer)
    flink.check = lambda **options: FlinkCluster("http://flink:8081", "job").check(
        {"parallelism": -1, "environment_type": "EXTERNAL", "environment_config": "localhost:50000"} | options
    )
    return flink


def test_a_job_that_fits_its_flink_cluster_is_not_refused(cluster):
    cluster.check()
    cluster.check(parallelism=1, environment_config="pool:50000")
    cluster.check(environment_type="LOOPBACK", environment_config=None)
    cluster.answers["GET jobmanager/config"].append({"key": "kubernetes.cluster-id", "value": "x"})
    cluster.answers["GET overview"] = {"slots-total": 0}  # task managers are started as jobs need them
    cluster.check(parallelism=8)


@pytest.mark.parametrize(
    ("changed", "options", "error", "message"),
    [
        ({}, {"parallelism": 3}, BadUsage, "--parallelism=3 needs as many task slots, and Flink .* has 2"),
        ({"GET overview": {"slots-total": 0}}, {}, EngineFailed, "has no task manager yet"),
        ({}, {"environment_config": "pool:50000"}, BadUsage, r"gives 2 task managers .* 1 worker pool"),
        (
            {"GET taskmanagers": {"taskmanagers": [{"path": f"pekko.tcp://flink@host:{n}/user/x"} for n in (1, 2)]}},
            {"environment_config": '{"url": "localhost:50000"}'},
            BadUsage,
            r"2 task managers \(host, host\) 1 worker pool",
        ),
    ],
    ids=["slots", "no task manager", "one pool", "one network"],
)
def test_a_job_that_would_wait_in_vain_or_hang_is_refused(changed, options, error, message, cluster):
    cluster.answers |= changed
    with pytest.raises(error, match=message):
        cluster.check(**options)


def test_a_flink_master_is_a_cluster_and_a_job_gets_a_name_of_its_own():
    options = PipelineOptions(["--runner=FlinkRunner", "--flink_master=flink:8081"]).get_all_options()
    cluster = _find_flink_cluster(options)
    assert cluster.address == "http://flink:8081"
    assert cluster.job_name.startswith("backbeam-")
    assert cluster.job_name != _find_flink_cluster(options).job_name
    assert _find_flink_cluster(options | {"job_name": "nightly"}).job_name.startswith("nightly-")
    assert _find_flink_cluster(options | {"flink_master": "[local]"}) is None
    assert _find_flink_cluster(options | {"runner": "FnApiRunner"}) is None


INTERRUPTED = SimpleNamespace(run=lambda: SimpleNamespace(wait_until_finish=lambda: sys.exit(143), _job_id="7"))


def test_an_interrupted_job_is_cancelled_on_its_cluster_and_others_are_not(cluster, capsys):
    cluster.jobs.append({"jid": "2", "name": "another", "state": "RUNNING"})
    with pytest.raises(SystemExit):
        _run_to_end(beam, INTERRUPTED, FlinkCluster("http://flink:8081", "job"))
    assert [each for each in cluster.requests if "PATCH" in each] == ["PATCH jobs/1?mode=cancel"]
    assert "cancelled job 1 on http://flink:8081" in capsys.readouterr().err


def test_a_job_that_cannot_be_cancelled_is_named_with_the_command_that_does(capsys):
    with pytest.raises(SystemExit):
        _run_to_end(beam, INTERRUPTED, FlinkCluster("http://localhost:1", "job"))
    said = " ".join(capsys.readouterr().err.split())
    assert "may go on with job 7, which could not be cancelled: Flink at http://localhost:1" in said
    assert "curl -X PATCH 'http://localhost:1/v1/jobs/ID?mode=cancel'" in said


def test_writes_in_progress_end_before_an_interrupted_job_is_cancelled(monkeypatch):
    done = []
    monkeypatch.setattr(beam_runner, "finish_writes", lambda: done.append("writes"))
    monkeypatch.setattr(beam_runner, "_cancel_job", lambda *_: done.append("job"))

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run_to_end(beam, SimpleNamespace(run=interrupt), None)
    assert done == ["writes", "job"]
