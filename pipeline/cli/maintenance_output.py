"""Text and JSON of the results of `backbeam verify` and `backbeam reproduce`."""

from typing import TYPE_CHECKING, Any

from pipeline.cli.output import OutputPart, Sheet, parse_columns
from pipeline.maintenance.findings import Fault
from pipeline.maintenance.verify import VerifyResult

if TYPE_CHECKING:
    from pipeline.maintenance.repair import RepairResult  # imports TensorFlow, as does reproduce
    from pipeline.maintenance.reproduce import ReproduceResult


def build_verify_json(result: VerifyResult) -> dict[str, Any]:
    """Return what `backbeam verify --json` prints."""
    return {
        "workspace": str(result.scope.workspace),
        "sound": not result.faults,
        "num_files": result.num_files,
        "num_bytes": result.num_bytes,
        "faults": [build_fault_json(fault) for fault in result.faults],
        "leftovers": list(map(str, result.leftovers)),
    }


def build_fault_json(fault: Fault) -> dict[str, str]:
    """Return the JSON object of a fault."""
    return vars(fault) | {"path": str(fault.path)}


def build_repair_json(result: "RepairResult") -> dict[str, Any]:
    """Return what `backbeam verify --repair --json` prints."""
    refused = [{"owner": refusal.owner, "reason": refusal.reason} for refusal in result.refused]
    return build_verify_json(result.verified) | {"repaired": list(map(str, result.repaired)), "not_repaired": refused}


def format_repair_result(result: "RepairResult") -> list[OutputPart]:
    """Return the repaired files, and the result of verifying the workspace after the repair."""
    repaired = [f"repaired  {path}" for path in result.repaired]
    return [*repaired, *format_verify_result(result.verified)]


def format_verify_result(result: VerifyResult) -> list[OutputPart]:
    """Return the faults with their remedies, leftover temporary files, and the number of checked files."""
    parts: list[OutputPart] = []
    if result.faults:
        parts += [_build_faults_sheet(result.faults), ""]
        parts += [f"{fault.path}: {fault.remedy}" for fault in result.faults if fault.remedy]
    if result.leftovers:
        parts += [f"left behind by a process that was killed, read by nobody: {path}" for path in result.leftovers]
    verdict = f"{len(result.faults):,} faults" if result.faults else "all sound"
    return [*parts, f"{result.num_files:,} files checked, {result.num_bytes:,} bytes: {verdict}"]


def build_reproduce_json(result: "ReproduceResult") -> dict[str, Any]:
    """Return what `backbeam reproduce --json` prints."""
    return {
        "run_id": result.run.run_id,
        "equal": result.is_equal,
        "artefacts": [vars(comparison) for comparison in result.comparisons],
        "conditions": {name: {"then": then, "now": now} for name, (then, now) in result.conditions.items()},
    }


def format_reproduce_result(result: "ReproduceResult") -> list[OutputPart]:
    """Return whether each artefact is equal to the original, and the conditions that differ."""
    rows = [(comparison.artefact, comparison.verdict, comparison.detail) for comparison in result.comparisons]
    num_different = sum(comparison.verdict == "different" for comparison in result.comparisons)
    verdict = f"{num_different} of them different" if num_different else "all equal"
    parts: list[OutputPart] = [Sheet(parse_columns("artefact", "", ""), rows, result.run.run_id), ""]
    if result.conditions:
        changed = [(name, then, now) for name, (then, now) in result.conditions.items()]
        parts += [Sheet(parse_columns("condition", "then", "now"), changed, "conditions that are others now"), ""]
    return [*parts, f"{len(rows)} artefacts made again and compared: {verdict}"]


def _build_faults_sheet(faults: tuple[Fault, ...]) -> Sheet:
    rows = [(fault.kind, str(fault.path), fault.expected, fault.found) for fault in faults]
    return Sheet(parse_columns("kind", "file", "expected", "found"), rows)
