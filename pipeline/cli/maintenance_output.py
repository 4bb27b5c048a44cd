"""What `backbeam verify` and `backbeam reproduce` tell."""

from typing import TYPE_CHECKING, Any

from pipeline.cli.output import OutputPart, Sheet, columns
from pipeline.maintenance.findings import Fault
from pipeline.maintenance.verify import VerifyResult

if TYPE_CHECKING:
    from pipeline.maintenance.repair import RepairResult  # which import TensorFlow
    from pipeline.maintenance.reproduce import ReproduceResult


def verified_json(found: VerifyResult) -> dict[str, Any]:
    """Return what `backbeam verify --json` prints."""
    return {
        "workspace": str(found.scope.workspace),
        "sound": not found.faults,
        "num_files": found.num_files,
        "num_bytes": found.num_bytes,
        "faults": [fault_json(fault) for fault in found.faults],
        "leftovers": list(map(str, found.leftovers)),
    }


def fault_json(fault: Fault) -> dict[str, str]:
    """Return a fault as `verify --json` has it."""
    return vars(fault) | {"path": str(fault.path)}


def repaired_json(found: "RepairResult") -> dict[str, Any]:
    """Return what `backbeam verify --repair --json` prints."""
    refused = [{"owner": refusal.owner, "reason": refusal.reason} for refusal in found.refused]
    return verified_json(found.verified) | {"repaired": list(map(str, found.repaired)), "not_repaired": refused}


def repaired_parts(found: "RepairResult") -> list[OutputPart]:
    """Say what was put in place, what could not be, and how the workspace is now."""
    done = [f"repaired  {path}" for path in found.repaired]
    return [*done, *verified_parts(found.verified)]


def verified_parts(found: VerifyResult) -> list[OutputPart]:
    """Say what was checked, and list every file that is not what it should be."""
    parts: list[OutputPart] = []
    if found.faults:
        parts += [_faults_sheet(found.faults), ""]
        parts += [f"{fault.path}: {fault.remedy}" for fault in found.faults if fault.remedy]
    if found.leftovers:
        parts += [f"left behind by a process that was killed, read by nobody: {path}" for path in found.leftovers]
    verdict = f"{len(found.faults):,} faults" if found.faults else "all sound"
    return [*parts, f"{found.num_files:,} files checked, {found.num_bytes:,} bytes: {verdict}"]


def reproduced_json(found: "ReproduceResult") -> dict[str, Any]:
    """Return what `backbeam reproduce --json` prints."""
    return {
        "run_id": found.run.run_id,
        "equal": found.is_equal,
        "artefacts": [vars(each) for each in found.comparisons],
        "conditions": {name: {"then": then, "now": now} for name, (then, now) in found.conditions.items()},
    }


def reproduced_parts(found: "ReproduceResult") -> list[OutputPart]:
    """Say of every artefact whether it came out equal, and which conditions are others now."""
    rows = [(each.artefact, each.verdict, each.detail) for each in found.comparisons]
    different = sum(each.verdict == "different" for each in found.comparisons)
    verdict = f"{different} of them different" if different else "all equal"
    parts: list[OutputPart] = [Sheet(columns("artefact", "", ""), rows, found.run.run_id), ""]
    if found.conditions:
        changed = [(name, then, now) for name, (then, now) in found.conditions.items()]
        parts += [Sheet(columns("condition", "then", "now"), changed, "conditions that are others now"), ""]
    return [*parts, f"{len(rows)} artefacts made again and compared: {verdict}"]


def _faults_sheet(faults: tuple[Fault, ...]) -> Sheet:
    rows = [(fault.kind, str(fault.path), fault.expected, fault.found) for fault in faults]
    return Sheet(columns("kind", "file", "expected", "found"), rows)
