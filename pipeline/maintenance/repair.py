"""Repair: exactly the bad files of a workspace are made again from their sources, and put in place if they are right.

A data set comes from what `origins` says, a run from its data set and configuration, an evaluation from its run, a
group's table from its evaluations, the pointer to the champion from the history. Whatever cannot be made again as it
was is left as it is, with the reason. Where a record itself is lost or damaged, nothing says what its files should be:
the user deletes them and gives the command again; see `faults.REMEDIES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

from model.errors import BackbeamError, BadInput, BadUsage, CorruptArtefact, StorageFailed
from pipeline.context import StageContext
from pipeline.evaluate.slice_config import Slicings
from pipeline.maintenance.findings import Fault, Kind
from pipeline.maintenance.inventory import VerifyScope
from pipeline.maintenance.rebuild import repair_dataset, repair_evaluation, repair_group, repair_run, repair_validation
from pipeline.maintenance.replace_files import as_rebuilt_files, replace_differing_files, replace_named_files
from pipeline.maintenance.verify import VerifyResult, verify
from pipeline.preprocess.dataset import Dataset
from pipeline.preprocess.manifest import check_dataset
from pipeline.progress import say
from pipeline.registry.challenge import contest_folder, load_contest, write_contest
from pipeline.registry.history import CHAMPION_NAME, champion_path, load_history
from pipeline.storage.cleanup import repair_folder
from pipeline.storage.files import make_empty_folder, remove_afterwards, write_atomically
from pipeline.storage.places import Place
from pipeline.storage.workspace import local_folder_of
from pipeline.train.run_record import load_run

Mend = Callable[[Place, str, set[str], Path], list[Place]]
Stages: TypeAlias = tuple[tuple[tuple[Kind, ...], Mend], ...]


@dataclass(frozen=True)
class RepairRefusal:
    """Something that could not be made again.

    Attributes:
        owner: the data set, run or group.
        reason: why not, and what is needed.
        is_source: whether it is a source that is missing or damaged.
    """

    owner: str
    reason: str
    is_source: bool


@dataclass(frozen=True)
class RepairResult:
    """What came of a repair.

    Attributes:
        verified: the workspace as it is now.
        mended: every file that was put in place.
        refused: what could not be made again.
    """

    verified: VerifyResult
    mended: tuple[Place, ...]
    refused: tuple[RepairRefusal, ...]


def repair(scope: VerifyScope, trusted: Slicings) -> RepairResult:
    """Verify, make again what is bad, and verify again.

    Args:
        scope: what to repair.
        trusted: slicings that may be used if a record names them.
    """
    verified = verify(scope)
    if not verified.faults:
        return RepairResult(verified, (), ())
    done, refused = _mend_all(verified, _stages(trusted))
    return RepairResult(verify(scope) if done else verified, tuple(done), tuple(refused))


def _stages(trusted: Slicings) -> Stages:
    """List how what is made again, in this order, since each is made of those before; what is in none cannot be."""
    return (
        (("shard", "rejected"), repair_dataset),
        (("validation table",), repair_validation),
        (("parameters", "training table"), repair_run),
        (("evaluation table",), partial(repair_evaluation, trusted=trusted)),
        (("seeds table",), repair_group),
        (("champion",), rebuild_champion),
        (("answers",), rebuild_contest),
    )


def _mend_all(verified: VerifyResult, stages: Stages) -> tuple[list[Place], list[RepairRefusal]]:
    workspace = verified.scope.workspace
    scratch = repair_folder(local_folder_of(workspace))
    done = list[Place]()
    refused = [
        RepairRefusal(fault.owner, f"{fault.path}: {fault.remedy}", False) for fault in verified.faults if fault.remedy
    ]
    with remove_afterwards(scratch):
        for kinds, mend in stages:
            for owner, faults in _by_owner(verified.faults, kinds):
                make_empty_folder(scratch)
                try:
                    done += mend(workspace, owner, {str(fault.path) for fault in faults}, scratch)
                except StorageFailed:  # a disk that refuses here will refuse the next file too
                    raise
                except (BackbeamError, FileNotFoundError) as problem:
                    refused.append(RepairRefusal(owner, str(problem), isinstance(problem, BadInput | BadUsage)))
                    say(f"repair: {owner}: not made again: {problem}")
    return done, refused


def _by_owner(faults: tuple[Fault, ...], kinds: tuple[Kind, ...]) -> list[tuple[str, list[Fault]]]:
    chosen = sorted((fault for fault in faults if fault.kind in kinds), key=lambda fault: fault.owner)
    return [(owner, list(group)) for owner, group in groupby(chosen, key=lambda fault: fault.owner)]


def failure_of(found: RepairResult) -> BackbeamError | None:
    """Return the error to end with, if not all could be repaired: of a source, if that is what is missing."""
    if not found.verified.faults:
        return None
    reasons = "".join(f"\n  {refusal.owner}: {refusal.reason}" for refusal in found.refused)
    kind = BadInput if any(refusal.is_source for refusal in found.refused) else CorruptArtefact
    return kind(f"{len(found.verified.faults)} files could not be repaired:{reasons}")


def rebuild_champion(workspace: Place, _: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Write the pointer again as the last entry of the history says."""
    champion, path = load_history(workspace).champion, champion_path(workspace)
    if champion is None:
        raise CorruptArtefact(f"{path}: the history names no champion: put the history back from a copy, or delete it")
    write_atomically(scratch / CHAMPION_NAME, champion.to_json())
    return replace_differing_files([as_rebuilt_files(path, scratch / CHAMPION_NAME)])


def rebuild_contest(workspace: Place, owner: str, faulty: set[str], scratch: Path) -> list[Place]:
    """Ask the run's model again."""
    dataset_id, _, run_id = owner.partition("/")
    folder, again = (contest_folder(place, dataset_id, run_id) for place in (workspace, scratch))
    run, data = load_run(workspace / "runs" / run_id), workspace / "datasets" / dataset_id
    write_atomically(scratch / "runs" / run_id / run.parameters.name, run.parameters.read(workspace / "runs" / run_id))
    write_contest(StageContext(scratch, ()), Dataset(data, *check_dataset(data)), run, again)
    files = [as_rebuilt_files(folder / file.name, again / file.name) for file in load_contest(again).files]
    return replace_named_files(files, [(folder / file.name, file) for file in load_contest(folder).files], faulty)
