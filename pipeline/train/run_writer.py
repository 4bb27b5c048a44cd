"""Write a trained run: its parameters, its tables, and last its record."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from model.checkpoint import encode_parameters
from model.fitting import Standing
from model.lockstep import Agreement
from model.network import Parameters
from pipeline.storage.files import digest_of
from pipeline.storage.records import FileInfo, commit_file, now
from pipeline.storage.tables import SCHEMAS, TableFile, build_table, publish_tables, stage_table, transpose
from pipeline.train.early_parameters import EARLY_NAME, EarlyParameters, encode_early
from pipeline.train.monitor import TrainingMonitor
from pipeline.train.run_record import (
    PARAMETERS_NAME,
    RUN_NAME,
    RunRecord,
    StepAgreement,
    current_conditions,
    current_versions,
)
from pipeline.train.training_job import TrainingAttempt, TrainingJob


def write_run(
    job: TrainingJob,
    attempt: TrainingAttempt,
    end: Standing,
    monitor: TrainingMonitor,
    agreements: Sequence[Agreement],
    device: str,
) -> None:
    """Write a run to its folder and its tables to the reports folder; the record, which makes it complete, last.

    There is at least one agreement of manual and autodiff; the last has a drift if both were trained in lockstep. Early
    parameters and statistics of layers are left out if an earlier version, which kept none, has begun the run.
    Raises Locked if another process wrote one of the files to the store meanwhile.
    """
    parameters = _write_parameters(job, attempt, end.state.parameters)
    has_early = monitor.early and monitor.early.keys() == {*monitor.early_steps}
    early = _write_early(job, attempt.run_id, monitor.early) if has_early else None
    rows: dict[str, Sequence[Any]] = {"learning_curve": monitor.curve, "gradient_agreement": agreements}
    if monitor.layers and monitor.layers[0].step == 0:
        rows["layer_statistics"] = monitor.layers
    tables = tuple(_write_rows(job, attempt.run_id, table, rows[table], parameters.sha256) for table in rows)
    publish_tables(job.workspace, attempt.run_id, tuple(rows))
    record = RunRecord(
        run_id=attempt.run_id,
        dataset_id=job.dataset.manifest.dataset_id,
        dataset_digest=job.dataset.digest,
        config=attempt.config,
        parameters=parameters,
        tables=tables,
        agreement=_summarise(agreements),
        device=device,
        seconds=end.seconds,
        finished=now(),
        versions=current_versions(),
        resumed_at=attempt.resumed_at,
        conditions=current_conditions(),
        name=attempt.name,
        steps_per_point=job.spacing_of(attempt.config),
        early_parameters=early,
    )
    commit_file(job.workspace / "runs" / attempt.run_id / RUN_NAME, record.to_json())


def _write_parameters(job: TrainingJob, attempt: TrainingAttempt, parameters: Parameters) -> FileInfo:
    about = {
        "run_id": attempt.run_id,
        "dataset_digest": job.dataset.digest,
        "config": attempt.config.model_dump(mode="json"),
    }
    return _write_file(job, attempt.run_id, PARAMETERS_NAME, encode_parameters(parameters, about))


def _write_early(job: TrainingJob, run_id: str, early: EarlyParameters) -> FileInfo:
    return _write_file(job, run_id, EARLY_NAME, encode_early(early, run_id))


def _write_file(job: TrainingJob, run_id: str, name: str, data: bytes) -> FileInfo:
    commit_file(job.workspace / "runs" / run_id / name, data)
    return FileInfo(name=name, num_bytes=len(data), sha256=digest_of(data))


def _write_rows(job: TrainingJob, run_id: str, table: str, rows: Sequence[Any], model_digest: str) -> TableFile:
    columns = transpose([row._asdict() for row in rows])
    content = build_table(columns, SCHEMAS[table], run_id, job.dataset.digest, model_digest)
    return stage_table(job.workspace, table, run_id, f"{table}.parquet", content, commit_file)


def _summarise(agreements: Sequence[Agreement]) -> StepAgreement | None:
    last = agreements[-1]
    if last.drift is None:
        return None
    return StepAgreement(
        largest_difference=float(np.max([row.largest_difference for row in agreements])),  # NumPy's max keeps a NaN
        drift=last.drift,
        largest_parameter=last.largest_parameter,
    )
