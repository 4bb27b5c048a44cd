"""What `backbeam verify` tells."""

from typing import Any

from pipeline.faults import Fault
from pipeline.sheets import Part, Sheet, columns
from pipeline.verification import Verified


def verified_json(found: Verified) -> dict[str, Any]:
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


def verified_parts(found: Verified) -> list[Part]:
    """Say what was checked, and list every file that is not what it should be."""
    parts: list[Part] = []
    if found.faults:
        parts += [_faults_sheet(found.faults), ""]
    if found.leftovers:
        parts += [f"left behind by a process that was killed, read by nobody: {path}" for path in found.leftovers]
    verdict = f"{len(found.faults):,} faults" if found.faults else "all sound"
    return [*parts, f"{found.num_files:,} files checked, {found.num_bytes:,} bytes: {verdict}"]


def _faults_sheet(faults: tuple[Fault, ...]) -> Sheet:
    rows = [(fault.kind, str(fault.path), fault.expected, fault.found) for fault in faults]
    return Sheet(columns("kind", "file", "expected", "found"), rows)
