"""Repair a workspace: rebuild its damaged files from their sources and replace them if the bytes are the recorded ones.

Records are not repaired, because nothing else says what they should be; see `findings.REMEDIES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

from model.errors import BackbeamError, BadInput, BadUsage, CorruptArtefact, StorageFailed
from pipeline.evaluate.slice_config import Slicings
from pipeline.maintenance import repair_artefacts
from pipeline.maintenance.findings import Fault, Kind
from pipeline.maintenance.inventory import VerifyScope
from pipeline.maintenance.verify import CheckFunction, VerifyResult, verify
from pipeline.progress import show_message
from pipeline.storage.cleanup import repair_folder
from pipeline.storage.files import make_empty_folder, remove_afterwards
from pipeline.storage.places import Place
from pipeline.storage.workspace import local_folder_of

RepairFunction: TypeAlias = Callable[[Place, str, set[str], Path], list[Place]]  # see `repair_artefacts`


@dataclass(frozen=True)
class RepairRefusal:
    """Why an artefact of an owner could not be repaired, and whether a source is at fault or an option is needed."""

    owner: str
    reason: str
    is_source: bool


@dataclass(frozen=True)
class RepairResult:
    """The verification after a repair, the replaced files, and the artefacts that could not be repaired."""

    verified: VerifyResult
    repaired: tuple[Place, ...]
    refused: tuple[RepairRefusal, ...]


def repair(
    scope: VerifyScope, trusted: Slicings, sources: tuple[str, ...] = (), check: CheckFunction | None = None
) -> RepairResult:
    """Verify a scope, repair its faults, and verify it again; slicings are imported only if they are trusted.

    Sources are places of sources that were moved; which one is that of a data set is found by its content. check is an
    argument of `verify`.

    Raises StorageFailed if the disk or store refuses an operation.
    """
    verified = verify(scope, check)
    steps: dict[tuple[Kind, ...], RepairFunction] = {  # in the order of dependency: a run needs its data set
        ("shard", "rejected"): partial(repair_artefacts.repair_dataset, sources=sources),
        ("validation table",): repair_artefacts.repair_validation,
        ("parameters", "training table"): repair_artefacts.repair_run,
        ("evaluation table",): partial(repair_artefacts.repair_evaluation, trusted=trusted),
        ("seeds table",): repair_artefacts.repair_group,
        ("champion",): repair_artefacts.repair_champion,
        ("answers",): repair_artefacts.repair_answers,
    }
    scratch = repair_folder(local_folder_of(scope.workspace))
    repaired = list[Place]()
    refused = [
        RepairRefusal(fault.owner, f"{fault.path}: {fault.remedy}", False) for fault in verified.faults if fault.remedy
    ]
    with remove_afterwards(scratch):
        for kinds, repair_artefact in steps.items():
            for owner, paths in _paths_by_owner(verified.faults, kinds):
                make_empty_folder(scratch)
                try:
                    repaired += repair_artefact(scope.workspace, owner, paths, scratch)
                except StorageFailed:  # a disk that refuses here will refuse the next file too
                    raise
                except (BackbeamError, FileNotFoundError) as problem:
                    refused.append(RepairRefusal(owner, str(problem), isinstance(problem, BadInput | BadUsage)))
                    show_message(f"repair: {owner}: not made again: {problem}")
    return RepairResult(verify(scope, check) if repaired else verified, tuple(repaired), tuple(refused))


def _paths_by_owner(faults: tuple[Fault, ...], kinds: tuple[Kind, ...]) -> list[tuple[str, set[str]]]:
    chosen = sorted((fault for fault in faults if fault.kind in kinds), key=lambda fault: fault.owner)
    groups = groupby(chosen, key=lambda fault: fault.owner)
    return [(owner, {str(fault.path) for fault in group}) for owner, group in groups]


def failure_of(result: RepairResult) -> BackbeamError | None:
    """Return the error that ends the command, BadInput if a source is at fault; None if nothing is damaged any more."""
    if not result.verified.faults:
        return None
    reasons = "".join(f"\n  {refusal.owner}: {refusal.reason}" for refusal in result.refused)
    kind = BadInput if any(refusal.is_source for refusal in result.refused) else CorruptArtefact
    return kind(f"{len(result.verified.faults)} files could not be repaired:{reasons}")
