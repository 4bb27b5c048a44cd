"""The text and JSON that `backbeam verify` and `backbeam reproduce` print."""

import re
from typing import TYPE_CHECKING

from pipeline.cli.output import CommandOutput, OutputPart, Sheet
from pipeline.maintenance.verify import VerifyResult
from pipeline.storage.places import Place

if TYPE_CHECKING:
    from pipeline.maintenance.migrate import MigrateResult
    from pipeline.maintenance.repair import RepairResult  # imports TensorFlow, as does reproduce
    from pipeline.maintenance.reproduce import ReproduceResult

_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")  # a whole SHA-256 has no place on a narrow terminal


def build_verify_output(verified: VerifyResult) -> CommandOutput:
    """Return the faults with their remedies, leftover temporary files, and the number of checked files."""
    result = {
        "workspace": str(verified.scope.workspace),
        "sound": not verified.faults,
        "num_files": verified.num_files,
        "num_bytes": verified.num_bytes,
        "faults": [vars(fault) | {"path": str(fault.path)} for fault in verified.faults],
        "leftovers": list(map(str, verified.leftovers)),
    }
    parts: list[OutputPart] = []
    if verified.faults:
        rows = [(fault.kind, str(fault.path), fault.expected, fault.found) for fault in verified.faults]
        parts += [Sheet(("kind", "file", "expected", "found"), rows), ""]
    parts += [f"{fault.path}: {fault.remedy}" for fault in verified.faults if fault.remedy]
    parts += [f"left behind by a process that was killed, read by nobody: {path}" for path in verified.leftovers]
    verdict = f"{len(verified.faults):,} faults" if verified.faults else "all sound"
    return result, [*parts, f"{verified.num_files:,} files checked, {verified.num_bytes:,} bytes: {verdict}"]


def build_repair_output(repaired: "RepairResult") -> CommandOutput:
    """Return the repaired files, and the result of verifying the workspace after the repair."""
    result, parts = build_verify_output(repaired.verified)
    refused = [{"owner": refusal.owner, "reason": refusal.reason} for refusal in repaired.refused]
    result |= {"repaired": list(map(str, repaired.repaired)), "not_repaired": refused}
    return result, [*(f"repaired  {path}" for path in repaired.repaired), *parts]


def build_migrate_output(workspace: Place, migrated: "MigrateResult", dry_run: bool) -> CommandOutput:
    """Return the records of earlier formats."""
    paths = list(map(str, migrated.earlier))
    result = {"workspace": str(workspace), "dry_run": dry_run, "num_records": migrated.num_records, "earlier": paths}
    verb = "to be written" if dry_run else "written"
    return result, [*paths, f"{migrated.num_records:,} records, {len(paths):,} of an earlier format {verb} again"]


def build_reproduce_output(reproduced: "ReproduceResult") -> CommandOutput:
    """Return whether each artefact is equal to the original, and the conditions that differ."""
    conditions = [(name, then, now) for name, (then, now) in reproduced.conditions.items()]
    shown = [(name, _shorten_digests(then), _shorten_digests(now)) for name, then, now in conditions]
    result = {
        "run_id": reproduced.run.run_id,
        "equal": reproduced.is_equal,
        "artefacts": [vars(comparison) for comparison in reproduced.comparisons],
        "conditions": {name: {"then": then, "now": now} for name, then, now in conditions},
    }
    rows = [
        (comparison.artefact, comparison.verdict, _shorten_digests(comparison.detail))
        for comparison in reproduced.comparisons
    ]
    num_different = sum(comparison.verdict == "different" for comparison in reproduced.comparisons)
    verdict = f"{num_different} of them different" if num_different else "all equal"
    parts: list[OutputPart] = [Sheet(("artefact", "", ""), rows, reproduced.run.run_id), ""]
    if conditions:
        parts += [Sheet(("condition", "then", "now"), shown, "conditions that have changed"), ""]
    return result, [*parts, f"{len(rows)} artefacts made again and compared: {verdict}"]


def _shorten_digests(text: str) -> str:
    return _DIGEST.sub(r"\1...", text)
