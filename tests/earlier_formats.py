"""Made-up earlier formats of every record, and readers for them: the version before today's has one more field.

No earlier version wrote them. They stand for the formats that a later version will read.
"""

import json
from pathlib import Path

import pytest

from pipeline.maintenance.migrate import KINDS
from pipeline.storage.files import digest_of
from pipeline.storage.formats import VersionedRecord
from pipeline.storage.records import seal

DROPPED = "dropped"


def install_readers(patch: pytest.MonkeyPatch) -> None:
    """Let today's records read the made-up formats."""
    for kind in set(KINDS.values()):
        patch.setattr(kind, "EARLIER", {version_of(kind) - 1: read_earlier})


def version_of(kind: type[VersionedRecord]) -> int:
    return kind.model_fields["format_version"].default


def read_earlier(content: dict) -> dict:
    return {name: value for name, value in content.items() if name != DROPPED}


def write_earlier(workspace: Path) -> None:
    """Write every record of a workspace without joint data sets in its made-up format, as if it had always had that.

    Records name manifests and entries of the history by their SHA-256, so these names are replaced too.
    """
    digests: dict[str, str] = {}
    for pattern, kind in KINDS.items():  # the manifests first, the entries in order
        for path in sorted(workspace.glob(pattern)):
            text = path.read_text()
            earlier_digest = digest_of(text.encode())
            for before, after in digests.items():
                text = text.replace(before, after)
            content = json.loads(text) | {"format_version": version_of(kind) - 1, DROPPED: 1}
            del content["record_sha256"]
            data = seal(content)
            digests[earlier_digest] = digest_of(data)
            path.write_bytes(data)
