"""Log evaluated runs to MLflow: parameters, the learning curve, figures, the page and the exported model.

It goes to where MLFLOW_TRACKING_URI says, into the experiment that MLFLOW_EXPERIMENT_NAME names.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib.util import find_spec
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

from model.errors import BadUsage, StorageFailed
from pipeline.context import quiet_imports
from pipeline.evaluate.evaluated_runs import EvaluatedRun, find_evaluated
from pipeline.report.report import write_report
from pipeline.storage.files import scratch_folder
from pipeline.storage.places import Place
from pipeline.train.export import export_model
from pipeline.train.run_lookup import find_model

RUN_TAG = "backbeam.run_id"
DEFAULT_EXPERIMENT = "backbeam"
MAX_BATCH = 1000  # metrics of a request, as MLflow's servers accept
FIGURES = ("accuracy", "accuracy_low", "accuracy_high", "loss", "ece", "brier")
_DEFAULTS = {  # environment variables of MLflow, unless they are set
    "MLFLOW_DISABLE_TELEMETRY": "true",  # it reports the use of its functions to its makers
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # 7 take minutes where no server listens
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # standard output is for the result
}


class LoggedRun(NamedTuple):
    """A run of a workspace and its run in MLflow."""

    run_id: str
    mlflow_run_id: str
    experiment: str
    is_new: bool  # it was logged by this command, and not before


def log_runs(workspace: Place, names: Sequence[str]) -> list[LoggedRun]:
    """Log evaluated runs, found as by `find_evaluated`; a run that was logged to the experiment before is left alone.

    Raises BadUsage if MLflow is not installed or MLFLOW_TRACKING_URI is not set, StorageFailed if MLflow fails, and as
    `find_evaluated`.
    """
    if find_spec("mlflow") is None:
        raise BadUsage("backbeam mlflow needs the package mlflow-skinny", hint="pip install 'backbeam[mlflow]'")
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise BadUsage("MLFLOW_TRACKING_URI is not set", hint="set it to the address of a tracking server")
    evaluated = find_evaluated(workspace, names)
    for variable, value in _DEFAULTS.items():
        os.environ.setdefault(variable, value)
    with quiet_imports():
        from mlflow.tracking import MlflowClient
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT
    with _mlflow_failures():
        client = MlflowClient()
        found = client.get_experiment_by_name(experiment)
        experiment_id = found.experiment_id if found else client.create_experiment(experiment)
        return [_log_unless_logged(client, experiment_id, experiment, one) for one in evaluated]


@contextmanager
def _mlflow_failures() -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as problem:  # failed requests are OSErrors
        reason = re.sub(r"://[^/\s]*@", "://", [*str(problem).splitlines(), ""][0])  # the address may hold a password
        raise StorageFailed(
            f"MLflow: {reason}",
            hint="the runs are as they were, and the same command logs later what is not logged yet",
        ) from problem


def _log_unless_logged(client: Any, experiment_id: str, experiment: str, one: EvaluatedRun) -> LoggedRun:
    wanted = f"tags.`{RUN_TAG}` = '{one.run.run_id}' and attributes.status = 'FINISHED'"
    logged = client.search_runs([experiment_id], wanted, max_results=1)
    identifier = logged[0].info.run_id if logged else _log_run(client, experiment_id, one)
    return LoggedRun(one.run.run_id, identifier, experiment, not logged)


def _log_run(client: Any, experiment_id: str, one: EvaluatedRun) -> str:
    """Log a run and return MLflow's id of it; what was logged of a run that fails is deleted."""
    run = one.run
    tags = {RUN_TAG: run.run_id, "backbeam.dataset_id": run.dataset_id, "backbeam.model_digest": run.parameters.sha256}
    with scratch_folder("backbeam") as folder:
        write_report(one.workspace, [run.run_id], folder / "report.html")  # before the run is begun: these may fail
        export_model(find_model(one.workspace, run.run_id), folder / "model")
        begin = _start_of(one)
        created = client.create_run(experiment_id, start_time=begin, tags=tags, run_name=run.name or run.run_id)
        identifier = str(created.info.run_id)
        try:
            _log_contents(client, identifier, one, folder)
        except BaseException:
            with suppress(Exception):
                client.delete_run(identifier)
            raise
    client.set_terminated(identifier, end_time=begin + round(1000 * run.seconds))
    return identifier


def _log_contents(client: Any, identifier: str, one: EvaluatedRun, folder: Path) -> None:
    from mlflow.entities import Param

    settings = one.run.config.model_dump(mode="json")
    params = [
        Param(name, value if isinstance(value, str) else json.dumps(value))
        for name, value in settings.items()
        if value is not None
    ]
    client.log_batch(identifier, params=params)
    metrics = _collect_metrics(one)
    for first in range(0, len(metrics), MAX_BATCH):
        client.log_batch(identifier, metrics=metrics[first : first + MAX_BATCH])
    client.log_artifacts(identifier, str(folder))


def _collect_metrics(one: EvaluatedRun) -> list[Any]:
    """Return the learning curve by step, and the figures of each split at the last step."""
    from mlflow.entities import Metric

    begin = _start_of(one)
    metrics = []
    for row in one.rows("learning_curve"):
        time = begin + round(1000 * row["seconds"])
        accuracy = row["num_correct"] / max(1, row["num_monitored"])
        metrics.append(Metric("curve/accuracy_of_first_test_examples", accuracy, time, row["step"]))
        if not isnan(row["loss"]):  # as it is at step 0
            metrics.append(Metric("curve/loss", row["loss"], time, row["step"]))
    end = begin + round(1000 * one.run.seconds)
    last = one.run.config.num_steps
    figures = [
        Metric(f"{result.split}/{name}", getattr(result, name), end, last)
        for result in one.evaluation.results
        for name in FIGURES
    ]
    return [*metrics, *figures]


def _start_of(one: EvaluatedRun) -> int:
    """Return when training began, in milliseconds since 1970."""
    return round(1000 * (datetime.fromisoformat(one.run.finished).timestamp() - one.run.seconds))
