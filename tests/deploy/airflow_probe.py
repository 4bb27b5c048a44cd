"""Run by the interpreter of an environment with Airflow, which this project's own has not: see test_airflow.py."""

import json
import sys
from datetime import timedelta

from airflow.configuration import conf
from airflow.dag_processing.dagbag import DagBag


def look(bag):
    dag = bag.dags["backbeam_retrain"]
    [task] = dag.tasks
    return {
        "errors": bag.import_errors,
        "dags": list(bag.dags),
        "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup,
        "tasks": [task.task_id],
        "retries": task.retries,
        "timetable": dag.schedule,
        "command": task.command,
        "not_worth_a_retry": sorted(sys.modules[type(task).__module__].NOT_WORTH_A_RETRY),
    }


def run(dag, config):
    """Run the DAG here, with one retry and no pause before it."""
    [task] = dag.tasks
    task.retries, task.retry_delay, task.retry_exponential_backoff = 1, timedelta(0), False
    finished = dag.test(run_conf=config)
    [task] = finished.get_task_instances()
    return {"state": str(finished.state), "tries": task.try_number, "task": str(task.state)}


bag = DagBag(conf.get("core", "dags_folder"))
found = look(bag) if sys.argv[1] == "look" else run(bag.dags["backbeam_retrain"], json.loads(sys.argv[2]))
sys.stdout.write(f"{json.dumps(found)}\n")
