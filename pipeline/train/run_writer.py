"""Write a trained run: its parameters, its tables, and last its record."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from model.checkpoint import encode_parameters
from model.fitting import Progress
from model.lockstep import Agreement
from model.network import Parameters
from model.recipes import TrainingConfig
from pipeline.storage.files import digest_of
from pipeline.storage.places import Place
from pipeline.storage.records import FileInfo, commit_file, now
from pipeline.storage.tables import (
    SCHEMAS,
    TRAINING_TABLES,
    TableFile,
    origin_columns,
    publish_tables,
    staging_folder,
    write_table,
)
from pipeline.train.environment import current_conditions
from pipeline.train.run_record import (
    PARAMETERS_NAME,
    RUN_NAME,
    RunRecord,
    StepAgreement,
    current_versions,
)


@dataclass(frozen=True)
class TrainedRun:
    """A run after its last step, not yet written.

    Attributes:
        run_id: the name of its folder.
        dataset_id: the folder of its data set.
        dataset_digest: SHA-256 of the manifest.
        config: as trained.
        parameters: of the network.
        curve: the learning curve, one point per report.
        agreements: of manual and autodiff, at least one; with a drift if both were trained in lockstep.
        device: what it was trained on.
        seconds: of training, compilation included.
        resumed_at: the steps at which it was resumed.
    """

    run_id: str
    dataset_id: str
    dataset_digest: str
    config: TrainingConfig
    parameters: Parameters
    curve: Sequence[Progress]
    agreements: Sequence[Agreement]
    device: str
    seconds: float
    resumed_at: tuple[int, ...]


def write_run(workspace: Place, run: TrainedRun) -> None:
    """Write a run to its folder and its tables to the reports folder; the record, which makes it complete, last.

    Raises:
        Locked: another process wrote one of the files to the store meanwhile.
    """
    folder = workspace / "runs" / run.run_id
    parameters = _write_parameters(folder, run)
    rows: dict[str, Sequence[Any]] = {"learning_curve": run.curve, "gradient_agreement": run.agreements}
    tables = tuple(_write_rows(workspace, run, table, rows[table], parameters.sha256) for table in rows)
    publish_tables(workspace, run.run_id, TRAINING_TABLES)
    record = RunRecord(
        run_id=run.run_id,
        dataset_id=run.dataset_id,
        dataset_digest=run.dataset_digest,
        config=run.config,
        parameters=parameters,
        tables=tables,
        agreement=_summarise(run.agreements),
        device=run.device,
        seconds=run.seconds,
        finished=now(),
        versions=current_versions(),
        resumed_at=run.resumed_at,
        conditions=current_conditions(),
    )
    commit_file(folder / RUN_NAME, record.to_json())


def _write_parameters(folder: Place, run: TrainedRun) -> FileInfo:
    about = {
        "run_id": run.run_id,
        "dataset_digest": run.dataset_digest,
        "config": run.config.model_dump(mode="json"),
    }
    data = encode_parameters(run.parameters, about)
    commit_file(folder / PARAMETERS_NAME, data)
    return FileInfo(name=PARAMETERS_NAME, num_bytes=len(data), sha256=digest_of(data))


def _write_rows(workspace: Place, run: TrainedRun, table: str, rows: Sequence[Any], model_digest: str) -> TableFile:
    """Write a table from named tuples whose fields are its columns."""
    columns = dict(zip(rows[0]._fields, zip(*rows, strict=True), strict=True))
    origin = origin_columns(len(rows), run.run_id, run.dataset_digest, model_digest)
    path = staging_folder(workspace, table, run.run_id) / f"{table}.parquet"
    file = write_table(path, pa.table(origin | columns, schema=SCHEMAS[table]), commit_file)
    return TableFile(table=table, **file.model_dump())


def _summarise(agreements: Sequence[Agreement]) -> StepAgreement | None:
    """Summarise the agreement of a run in lockstep; None for a run that trained one network."""
    last = agreements[-1]
    if last.drift is None:
        return None
    return StepAgreement(
        largest_difference=float(np.max([row.largest_difference for row in agreements])),  # NumPy's max keeps a NaN
        drift=last.drift,
        largest_parameter=last.largest_parameter,
    )
