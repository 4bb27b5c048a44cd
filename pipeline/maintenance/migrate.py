"""Write the records of earlier format versions again in the format of today."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.evaluate.evaluation_record import EVALUATION_NAME, NEXT_NAME, EvaluationRecord
from pipeline.evaluate.seeds import GroupRecord
from pipeline.preprocess.manifest import MANIFEST_NAME, Manifest
from pipeline.preprocess.provenance import Origin
from pipeline.preprocess.validation_config import VALIDATION_NAME, ValidationRecord
from pipeline.registry.history import CHAMPION_NAME, Champion, Entry
from pipeline.registry.stored_answers import ANSWERS_NAME, AnswersRecord
from pipeline.storage.files import list_files, read_record_bytes, write_atomically
from pipeline.storage.formats import VersionedRecord
from pipeline.storage.places import Place
from pipeline.train.run_record import RUN_NAME, RunRecord

# All but checkpoints, which the name of their file ties to their bytes: the next one is of today's format.
KINDS: dict[str, type[VersionedRecord]] = {
    f"datasets/*/{MANIFEST_NAME}": Manifest,
    f"datasets/*/{VALIDATION_NAME}": ValidationRecord,
    "origins/*.json": Origin,
    f"runs/*/{RUN_NAME}": RunRecord,
    f"runs/*/{EVALUATION_NAME}": EvaluationRecord,
    f"runs/*/{NEXT_NAME}": EvaluationRecord,
    "groups/*.json": GroupRecord,
    f"registry/history/{8 * '[0-9]'}.json": Entry,  # other names are no entries
    f"registry/{CHAMPION_NAME}": Champion,
    f"registry/contests/*/*/{ANSWERS_NAME}": AnswersRecord,
}


@dataclass(frozen=True)
class MigrateResult:
    """The records of earlier formats, which were written again unless that was only asked about."""

    num_records: int  # of any format
    earlier: tuple[Place, ...]


def migrate(workspace: Place, dry_run: bool) -> MigrateResult:
    """Write each record of an earlier format again, one at a time; with dry_run only list them.

    A mix of formats is a valid workspace, so a migration that was interrupted can go on at any time. The process must
    hold the lock of the workspace, unless dry_run is set. All records are read before the first is written.

    Raises CorruptArtefact or UnknownFormat for the first record that cannot be read, and StorageFailed.
    """
    num_records = 0
    earlier: list[tuple[Place, type[VersionedRecord]]] = []
    for path, kind in _list_records(workspace):
        num_records += 1
        data = read_record_bytes(path)
        if kind.from_json(data, path).to_json() != data:  # what is of today's format is equal, or corrupt
            earlier.append((path, kind))
    for path, kind in [] if dry_run else earlier:
        write_atomically(path, kind.load(path).to_json())
    return MigrateResult(num_records, tuple(path for path, _ in earlier))


def _list_records(workspace: Place) -> Iterator[tuple[Place, type[VersionedRecord]]]:
    for pattern, kind in KINDS.items():
        for path in list_files(workspace, pattern):
            yield path, kind
