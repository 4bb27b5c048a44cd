"""Retraining as a DAG of Airflow 3: every night, one run at a time, nothing made up for.

backbeam and Airflow cannot share an environment; the task runs the command `backbeam` of an environment of its own, on
the worker, and turns its exit code into what Airflow does next. Whatever is done already, backbeam skips.
"""

from datetime import datetime, timedelta, timezone

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import DAG, BaseOperator, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException

# Of model/errors.py: trying again gives the same. 1 something differs, 2 usage, 3 bad input, 4 corrupt artefact, 8 a
# record of an unknown format. What ends with another code (5 storage, 6 locked, 7 engine, 130 and 143 told to stop, or
# killed) may have passed by then.
NOT_WORTH_A_RETRY = frozenset({1, 2, 3, 4, 8})


class BackbeamOperator(BaseOperator):
    """Runs backbeam. A task that Airflow ends is told by SIGTERM, so that backbeam leaves a checkpoint.

    Args:
        command: the program and its arguments; templates are filled in.
    """

    template_fields = ("command",)

    def __init__(self, *, command: list[str], **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.command = command
        self.hook = SubprocessHook()

    def execute(self, context: object) -> None:
        """Run the command; raises AirflowFailException where a retry is of no use, else AirflowException."""
        done = self.hook.run_command(self.command)
        if done.exit_code in NOT_WORTH_A_RETRY:
            raise AirflowFailException(f"exit code {done.exit_code}: {done.output}")
        if done.exit_code:
            raise AirflowException(f"exit code {done.exit_code}: {done.output}")

    def on_kill(self) -> None:
        """Let the command end in order."""
        self.hook.send_sigterm()


with DAG(
    dag_id="backbeam_retrain",
    description="Preprocess, validate, train, evaluate and decide; what is done already is skipped.",
    schedule="17 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),  # noqa: UP017 - Airflow may run on Python 3.10
    catchup=False,
    max_active_runs=1,
    tags=["backbeam"],
    params={
        "backbeam": Param("/opt/backbeam/bin/backbeam", type="string", description="The command of its environment."),
        "workspace": Param(
            "/var/lib/backbeam/workspace", type="string", description="A folder, or s3://, gs:// or az://."
        ),
        "dataset": Param("mnist", type="string", description="What to train on, as --dataset takes it."),
        "config": Param("/etc/backbeam/backbeam.toml", type="string", description="deploy/backbeam.toml, or yours."),
    },
) as dag:
    BackbeamOperator(
        task_id="retrain",
        command=[
            "{{ params.backbeam }}",
            "retrain",
            "--workspace={{ params.workspace }}",
            "--dataset={{ params.dataset }}",
            "--config={{ params.config }}",
            "--wait=600",
        ],
        retries=3,
        retry_delay=timedelta(minutes=10),
        retry_exponential_backoff=True,
        execution_timeout=timedelta(hours=6),
    )
