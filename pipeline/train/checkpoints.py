"""A run's checkpoints: written whole, found again only if they verify, no more than are wanted.

A checkpoint is one file, named by its step and the SHA-256 of its bytes, so that it is there whole or not at all, and
says itself whether it is sound; a record beside it could be there without it, or it without the record.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from model.checkpoint import decode_about, decode_tensors, encode_tensors, name_parts, restore
from model.errors import CorruptArtefact
from model.fitting import ChunkLoss, Progress, Standing
from model.lockstep import Agreement
from model.recipes import TrainingConfig
from pipeline.progress import warn
from pipeline.storage.files import digest_of, remove_file, write_atomically
from pipeline.storage.places import Place
from pipeline.storage.records import Count, Digest, Record
from pipeline.train.run_record import CHECKPOINTS_NAME

_ENDING = ".safetensors"
_Row = TypeVar("_Row", Progress, Agreement, ChunkLoss)


class CheckpointRecord(Record):
    """What a checkpoint says of itself.

    Attributes:
        run_id: of the run.
        config_digest: of its configuration.
        step: updates done.
        seconds: of training so far.
        resumed_at: the steps from which the run has gone on before.
    """

    format_version: Literal[2] = 2
    run_id: str
    config_digest: Digest
    step: Count
    seconds: float
    resumed_at: tuple[Count, ...]


class Snapshot(NamedTuple):
    """All that a run has at the end of a chunk.

    Attributes:
        standing: where it is.
        curve: the reports up to there.
        agreements: of the chunks up to there, in lockstep.
    """

    standing: Standing
    curve: tuple[Progress, ...] = ()
    agreements: tuple[Agreement, ...] = ()


class SavedCheckpoint(NamedTuple):
    """A checkpoint that verifies.

    Attributes:
        path: its file.
        record: what it says of itself.
        tensors: what it holds, by name.
        unsound: newer files that do not verify.
    """

    path: Place
    record: CheckpointRecord
    tensors: dict[str, npt.NDArray[Any]]
    unsound: tuple[Place, ...]

    @property
    def resumed_at(self) -> tuple[int, ...]:
        """The steps from which a run has gone on, once it has from here."""
        return (*self.record.resumed_at, self.record.step)


def find_newest_checkpoint(folder: Place, config: TrainingConfig) -> SavedCheckpoint | None:
    """Find the newest checkpoint of a run that verifies; a warning names each newer one that does not.

    Args:
        folder: of the run.
        config: of the run.

    Returns:
        the checkpoint; None if there is no file of any.

    Raises:
        CorruptArtefact: there are files, and none of them verifies.
    """
    unsound: list[Place] = []
    for path in _newest_first(folder):
        try:
            record, tensors = _read(path, folder.name, config)
        except CorruptArtefact as problem:
            warn(f"train: warning: {problem}; this checkpoint is left out")
            unsound.append(path)
        else:
            return SavedCheckpoint(path, record, tensors, tuple(unsound))
    if unsound:
        raise CorruptArtefact(
            f"no checkpoint of {folder.name} is sound: {', '.join(map(str, unsound))}; delete the folder "
            f"{folder / CHECKPOINTS_NAME} to train this run from the start, nothing else is lost"
        )
    return None


def resume_from(saved: SavedCheckpoint | None, start: Any) -> Snapshot:
    """Return where a run begins: at its start, or where it was left.

    Args:
        saved: its checkpoint, if there is one.
        start: the state before the first step.

    Raises:
        CorruptArtefact: the checkpoint holds something else than the run needs.
    """
    if saved is None:
        return Snapshot(Standing(0, start))
    tensors, record = saved.tensors, saved.record
    state = restore(start, tensors, str(saved.path))
    try:
        standing = Standing(record.step, state, _rows(ChunkLoss, "losses", tensors), record.seconds)
        return Snapshot(standing, _rows(Progress, "curve", tensors), _rows(Agreement, "agreements", tensors))
    except (TypeError, ValueError):  # columns that are no rows: one is missing, shorter, or a single number
        raise CorruptArtefact(f"{saved.path} does not hold the rows that were found before it") from None


def write_checkpoint(
    folder: Place, config: TrainingConfig, resumed_at: tuple[int, ...], keep: int, snapshot: Snapshot
) -> None:
    """Write a checkpoint, and delete those that are too many once it is in place.

    Args:
        folder: of the run.
        config: of the run.
        resumed_at: the steps from which it has gone on.
        keep: how many stay, this one included.
        snapshot: what the run has.
    """
    standing = snapshot.standing
    record = CheckpointRecord(
        run_id=folder.name,
        config_digest=config.digest,
        step=standing.step,
        seconds=standing.seconds,
        resumed_at=resumed_at,
    )
    data = _encode(snapshot, record)
    name = _file_name(standing.step, data)
    write_atomically(folder / CHECKPOINTS_NAME / name, data)
    older = [path for path in _newest_first(folder) if path.name != name]
    _remove(older[keep - 1 :])


def remove_old_checkpoints(folder: Place, saved: SavedCheckpoint) -> None:
    """Clear away what is of no use once a run goes on: files that do not verify, and those that a killed write left."""
    _remove([*saved.unsound, *(folder / CHECKPOINTS_NAME).glob(".*")])


def _newest_first(folder: Place) -> list[Place]:
    found = (folder / CHECKPOINTS_NAME).glob(f"*{_ENDING}")
    return sorted((path for path in found if not path.name.startswith(".")), key=lambda path: path.name, reverse=True)


def _file_name(step: int, data: bytes) -> str:
    return f"step-{step:010d}-{digest_of(data)}{_ENDING}"


def _read(path: Place, run_id: str, config: TrainingConfig) -> tuple[CheckpointRecord, dict[str, npt.NDArray[Any]]]:
    data = path.read_bytes()
    if not path.name.endswith(f"-{digest_of(data)}{_ENDING}"):
        raise CorruptArtefact(f"{path} is corrupt: its content does not have the SHA-256 that its name states")
    record = CheckpointRecord.from_json(decode_about(data, str(path)).encode(), path)
    if (record.run_id, record.config_digest) != (run_id, config.digest):
        raise CorruptArtefact(f"{path} is of the run {record.run_id}, expected {run_id}")
    if path.name != _file_name(record.step, data):
        raise CorruptArtefact(f"{path} is corrupt: it is of step {record.step}")
    return record, decode_tensors(data, str(path))


def _encode(snapshot: Snapshot, record: CheckpointRecord) -> bytes:
    """Return a checkpoint's bytes: the state's tensors, the rows that were found, and the record."""
    standing, curve, agreements = snapshot
    tensors = {name: np.asarray(part) for name, part in name_parts(standing.state).items()}
    columns = _columns("losses", standing.losses) | _columns("curve", curve) | _columns("agreements", agreements)
    return encode_tensors(tensors | columns, record.to_json().decode())


def _columns(name: str, rows: Sequence[Any]) -> dict[str, npt.NDArray[Any]]:
    """Turn named tuples into an array for each field; of 64-bit numbers, as Python's are."""
    if not rows:
        return {}
    fields = rows[0]._fields
    return {f"{name}.{field}": np.array(values) for field, values in zip(fields, zip(*rows, strict=True), strict=True)}


def _rows(kind: type[_Row], name: str, tensors: dict[str, npt.NDArray[Any]]) -> tuple[_Row, ...]:
    """Turn back what `_columns` did."""
    columns = [tensors[key].tolist() for field in kind._fields if (key := f"{name}.{field}") in tensors]
    return tuple(kind(*values) for values in zip(*columns, strict=True))


def _remove(paths: Iterable[Place]) -> None:
    for path in paths:
        remove_file(path)
