"""Runs in MLflow, read back with its client from a tracking store of files."""

import json
import shutil

import pytest

from model.errors import BadUsage, StorageFailed
from pipeline.report import mlflow_log
from pipeline.report.mlflow_log import log_runs
from pipeline.train.run_lookup import find_run_folder
from pipeline.train.run_names import rename_run
from pipeline.train.run_record import load_run


def test_missing_package_or_address_is_reported_before_any_work(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(mlflow_log, "find_spec", lambda name: None)
    with pytest.raises(BadUsage, match=r"pip install 'backbeam\[mlflow\]'"):
        log_runs(tmp_path, [])
    monkeypatch.setattr(mlflow_log, "find_spec", lambda name: name)
    with pytest.raises(BadUsage, match="MLFLOW_TRACKING_URI is not set"):
        log_runs(tmp_path, [])


@pytest.fixture
def client(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="needs MLflow's client: pip install mlflow-skinny")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "tracking").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    return MlflowClient()


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_run_is_logged_once_with_its_parameters_metrics_and_artifacts(client, seeds_run, tmp_path):
    workspace = shutil.copytree(seeds_run, tmp_path / "ws")
    rename_run(workspace, load_run(find_run_folder(workspace, "article-manual-seed2")), "second")
    [logged] = log_runs(workspace, ["second"])
    assert log_runs(workspace, ["article-manual-seed2"]) == [logged._replace(is_new=False)]
    found = client.get_run(logged.mlflow_run_id)
    assert found.info.run_name == "second"
    evaluation = json.loads((workspace / "runs" / logged.run_id / "evaluation.json").read_text())
    accuracies = {result["split"]: result["accuracy"] for result in evaluation["results"]}
    assert found.data.tags["backbeam.run_id"] == logged.run_id
    assert (found.data.params["layers"], found.data.params["step"]) == ("[20, 30, 3]", "manual")
    assert {split: found.data.metrics[f"{split}/accuracy"] for split in accuracies} == accuracies
    curve = client.get_metric_history(logged.mlflow_run_id, "curve/accuracy_of_first_test_examples")
    assert [point.step for point in curve] == [0, 20]
    assert {file.path for file in client.list_artifacts(logged.mlflow_run_id)} == {"report.html", "model"}
    assert "model/parameters.safetensors" in {
        file.path for file in client.list_artifacts(logged.mlflow_run_id, "model")
    }


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
def test_failed_logging_leaves_no_run_and_is_storage_failure(client, seeds_run, monkeypatch):
    def fail(*arguments):
        raise OSError("the server http://user:secret@host/api is gone")

    monkeypatch.setattr(type(client), "log_artifacts", fail)
    with pytest.raises(
        StorageFailed, match=r"MLflow: the server http://host/api is gone; .* the same command logs later"
    ):
        log_runs(seeds_run, ["article-manual-seed1"])
    [experiment] = client.search_experiments(filter_string="name = 'backbeam'")
    assert list(client.search_runs([experiment.experiment_id])) == []
