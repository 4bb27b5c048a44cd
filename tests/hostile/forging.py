"""Forge records of a workspace, with right digests in every record that depends on them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.storage.files import digest_of

Change = Callable[[dict[str, Any]], object]


def forge(path: Path, change: Change) -> bytes:
    """Change a record, update its own digest, and return its bytes."""
    content = json.loads(path.read_bytes())
    change(content)
    path.write_bytes(seal(content))
    return path.read_bytes()


def seal(content: dict[str, Any]) -> bytes:
    """Return a record as it is written, with its own digest."""
    content.pop("record_sha256", None)
    content["record_sha256"] = digest_of(_canonical(content))
    return _canonical(content)


def forge_file(record: Path, find: Callable[[dict[str, Any]], dict[str, Any]], path: Path, data: bytes) -> None:
    path.write_bytes(data)
    forge(record, lambda content: find(content).update(num_bytes=len(data), sha256=digest_of(data)))


def forge_manifest(workspace: Path, change: Change) -> None:
    """Change the manifest of the only data set, and update its digest in every record that names it."""
    [path] = workspace.glob("datasets/*/manifest.json")
    digest = digest_of(forge(path, change))
    for pattern in ("runs/*/run.json", "runs/*/evaluation.json", "datasets/*/validation.json"):
        for record in workspace.glob(pattern):
            forge(record, lambda content: content.update(dataset_digest=digest))


def _canonical(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, sort_keys=True, indent=2) + "\n").encode()
