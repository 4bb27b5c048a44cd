"""Write, verify and read the checkpoints of a run.

A checkpoint is a single file whose name holds its step and the SHA-256 of its content, so it needs no separate record:
two files could not be written at once, and a crash between them would leave one without the other.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from model.checkpoint import name_parts, restore
from model.errors import CorruptArtefact
from model.fitting import ChunkLoss, Progress, Standing
from model.lockstep import Agreement
from model.recipes import TrainingConfig
from model.tensor_file import decode_about, decode_tensors, encode_tensors
from pipeline.progress import warn
from pipeline.storage.files import digest_of, remove_file, write_atomically
from pipeline.storage.formats import VersionedRecord
from pipeline.storage.places import Place
from pipeline.storage.records import Count, Digest
from pipeline.train.early_parameters import EARLY_STEPS, EarlyParameters, name_early, take_early
from pipeline.train.layer_statistics import LayerStatistics
from pipeline.train.run_record import CHECKPOINTS_NAME

_SUFFIX = ".safetensors"
_Row = TypeVar("_Row", Progress, Agreement, ChunkLoss, LayerStatistics)


class CheckpointRecord(VersionedRecord):
    """The metadata in a checkpoint file: updates done, seconds of training, and the steps at which it was resumed."""

    format_version: Literal[2] = 2
    run_id: str
    config_digest: Digest
    step: Count
    seconds: float
    resumed_at: tuple[Count, ...]


class Snapshot(NamedTuple):
    """Everything needed to resume a run at the end of a chunk."""

    standing: Standing
    curve: tuple[Progress, ...] = ()
    agreements: tuple[Agreement, ...] = ()  # one per chunk of a run in lockstep
    layers: tuple[LayerStatistics, ...] = ()
    early: EarlyParameters = MappingProxyType({})


class SavedCheckpoint(NamedTuple):
    """A checkpoint that was read and verified; `corrupt` are newer files of the run that failed verification."""

    path: Place
    record: CheckpointRecord
    tensors: dict[str, npt.NDArray[Any]]
    corrupt: tuple[Place, ...]


def find_newest_checkpoint(folder: Place, config: TrainingConfig) -> SavedCheckpoint | None:
    """Find the newest checkpoint of a run that verifies, None if it has none; warn of each newer one that does not.

    Raises CorruptArtefact if none of the checkpoint files verifies.
    """
    corrupt: list[Place] = []
    for path in _list_newest_first(folder):
        try:
            record, tensors = _read(path, folder.name, config)
        except CorruptArtefact as problem:
            warn(f"train: warning: {problem}; this checkpoint is skipped")
            corrupt.append(path)
        else:
            return SavedCheckpoint(path, record, tensors, tuple(corrupt))
    if corrupt:
        # Starting again at step 0 would silently discard hours of training, so the user has to ask for it.
        raise CorruptArtefact(
            f"no checkpoint of {folder.name} is sound: {', '.join(map(str, corrupt))}",
            hint=f"delete the folder {folder / CHECKPOINTS_NAME} to train this run from the start, nothing else is "
            "lost",
        )
    return None


def resume_from(saved: SavedCheckpoint | None, start: Any, config: TrainingConfig) -> Snapshot:
    """Return the snapshot that training continues from: of a checkpoint or, if it is None, of step 0.

    `start` is the state before the first step. For a checkpoint only its structure, shapes and dtypes matter. Raises
    CorruptArtefact if the checkpoint lacks a tensor of the state, or its rows are incomplete.
    """
    if saved is None:
        return Snapshot(Standing(0, start))
    tensors = saved.tensors
    state = restore(start, tensors, str(saved.path))
    try:
        losses = _decode_rows(ChunkLoss, "losses", tensors)
        curve = _decode_rows(Progress, "curve", tensors)
        agreements = _decode_rows(Agreement, "agreements", tensors)
        layers = _decode_rows(LayerStatistics, "layers", tensors)
    except (TypeError, ValueError):  # a column is missing, is shorter than the others, or is a scalar
        raise CorruptArtefact(
            f"{saved.path} is corrupt: its loss, curve, agreement or layer columns are incomplete or differ in length"
        ) from None
    standing = Standing(saved.record.step, state, losses, saved.record.seconds)
    steps = [step for step in EARLY_STEPS if f"{step}.layers.0.weights" in tensors]
    return Snapshot(standing, curve, agreements, layers, take_early(tensors, steps, config, str(saved.path)))


def write_checkpoint(
    folder: Place, config: TrainingConfig, resumed_at: tuple[int, ...], keep: int, snapshot: Snapshot
) -> None:
    """Write a checkpoint, then delete the oldest ones beyond the number to keep, this one included."""
    standing = snapshot.standing
    record = CheckpointRecord(
        run_id=folder.name,
        config_digest=config.digest,
        step=standing.step,
        seconds=standing.seconds,
        resumed_at=resumed_at,
    )
    tensors = {name: np.asarray(part) for name, part in name_parts(standing.state).items()}
    tables = {
        "losses": standing.losses,
        "curve": snapshot.curve,
        "agreements": snapshot.agreements,
        "layers": snapshot.layers,
    }
    for table, rows in tables.items():
        tensors |= _encode_rows(table, rows)
    tensors |= name_early(snapshot.early)
    data = encode_tensors(tensors, record.to_json().decode())
    name = _file_name(standing.step, data)
    write_atomically(folder / CHECKPOINTS_NAME / name, data)
    older = [path for path in _list_newest_first(folder) if path.name != name]
    for path in older[keep - 1 :]:
        remove_file(path)


def remove_unusable_files(folder: Place, saved: SavedCheckpoint) -> None:
    """Delete the corrupt checkpoints of a run that is resumed, and the temporary files of interrupted writes.

    A corrupt file would otherwise count as one of the checkpoints to keep and displace a sound one.
    """
    for path in (*saved.corrupt, *(folder / CHECKPOINTS_NAME).glob(".*")):
        remove_file(path)


def _list_newest_first(folder: Place) -> list[Place]:
    paths = (folder / CHECKPOINTS_NAME).glob(f"*{_SUFFIX}")
    return sorted((path for path in paths if not path.name.startswith(".")), key=lambda path: path.name, reverse=True)


def _file_name(step: int, data: bytes) -> str:
    return f"step-{step:010d}-{digest_of(data)}{_SUFFIX}"


def _read(path: Place, run_id: str, config: TrainingConfig) -> tuple[CheckpointRecord, dict[str, npt.NDArray[Any]]]:
    data = path.read_bytes()
    if not path.name.endswith(f"-{digest_of(data)}{_SUFFIX}"):
        raise CorruptArtefact(f"{path} is corrupt: its content does not have the SHA-256 that its name states")
    record = CheckpointRecord.from_json(decode_about(data, str(path)).encode(), path)
    if (record.run_id, record.config_digest) != (run_id, config.digest):
        raise CorruptArtefact(f"{path} is of the run {record.run_id}, expected {run_id}")
    if path.name != _file_name(record.step, data):
        raise CorruptArtefact(f"{path} is corrupt: it is of step {record.step}")
    return record, decode_tensors(data, str(path))


def _encode_rows(name: str, rows: Sequence[Any]) -> dict[str, npt.NDArray[Any]]:
    """Turn named tuples into one array per field: int64 or float64, so that Python's numbers survive unchanged."""
    if not rows:
        return {}
    fields = rows[0]._fields
    return {f"{name}.{field}": np.array(values) for field, values in zip(fields, zip(*rows, strict=True), strict=True)}


def _decode_rows(kind: type[_Row], name: str, tensors: dict[str, npt.NDArray[Any]]) -> tuple[_Row, ...]:
    """Turn the arrays of `_encode_rows` back into named tuples; raises TypeError or ValueError if they do not fit."""
    columns = [tensors[key].tolist() for field in kind._fields if (key := f"{name}.{field}") in tensors]
    return tuple(kind(*values) for values in zip(*columns, strict=True))
