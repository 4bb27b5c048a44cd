"""Records whose format has a version: earlier versions are read, later ones are refused as such.

A record of an earlier version is upgraded in memory, one version at a time, by the functions in EARLIER. `backbeam
migrate` writes what was read so. Records name others by the SHA-256 of their file. A record that is named so has the
field `as_written`, so that its digest stays the same when its file is written again.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

from model.errors import CorruptArtefact, UnknownFormat
from pipeline.storage.files import digest_of
from pipeline.storage.places import Place
from pipeline.storage.records import Record, seal

Upgrade: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]  # the content of a version to that of the next one


class VersionedRecord(Record):
    """A record with a format version, which is also that of the records inside of it."""

    EARLIER: ClassVar[Mapping[int, Upgrade]] = {}  # by version; without a gap up to the version before today's
    format_version: int

    @classmethod
    def upgrade(cls, content: dict[str, Any], data: bytes, path: Place) -> dict[str, Any]:
        """Return the content in the format of today, the same object if it is of that.

        Raises UnknownFormat if its version is later than today's or has no function in EARLIER; CorruptArtefact if it
        is of another version and does not match its digest, since the version itself may be what was damaged.
        """
        today = cls.model_fields["format_version"].default
        version = content.get("format_version")
        if version == today or type(version) is not int:
            return content
        if seal(content) != data:
            raise CorruptArtefact(f"{path} is corrupt: its content does not match its digest")
        if version > today or version not in cls.EARLIER:
            raise UnknownFormat(_explain(path, version, cls, content))
        first_digest = content.get("as_written") or digest_of(data)
        for number in range(version, today):
            content = cls.EARLIER[number](content) | {"format_version": number + 1}
        return content | ({"as_written": first_digest} if "as_written" in cls.model_fields else {})


def _explain(path: Place, version: int, kind: type[VersionedRecord], content: dict[str, Any]) -> str:
    versions = content.get("versions")
    writer = versions.get("backbeam") if isinstance(versions, dict) else None
    written_by = f", written by backbeam {writer}" if isinstance(writer, str) else ""
    today = kind.model_fields["format_version"].default
    oldest = min(kind.EARLIER, default=today)
    known = f"versions {oldest} to {today}" if oldest < today else f"version {today}"
    advice = "update backbeam" if version > today else "it is read by the version of backbeam that wrote it"
    return f"{path} is sound, and of format version {version}{written_by}; this backbeam reads {known}: {advice}"
