"""The command `mlflow`. Heavy imports are lazy."""

import typer

from pipeline.cli import options
from pipeline.cli.command_setup import open_workspace
from pipeline.cli.output import print_result


def mlflow(
    context: typer.Context,
    runs: options.RunsArgument = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    as_json: options.AsJson = False,
) -> None:
    """Log evaluated runs to the MLflow server that MLFLOW_TRACKING_URI names; each run is logged once."""
    from pipeline.registry.history import resolve_run
    from pipeline.report.mlflow_log import log_runs

    place = open_workspace(context, workspace)
    logged = log_runs(place, [resolve_run(place, run) for run in runs or []])
    lines = [
        f"{run.run_id}: {'logged' if run.is_new else 'was logged before'} as {run.mlflow_run_id}, "
        f"experiment {run.experiment}"
        for run in logged
    ]
    print_result(as_json, {"runs": [run._asdict() for run in logged]}, lines)
