"""JSON records that contain the digest of their own content, the types of their fields, and their commits."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from model.errors import CorruptArtefact, Locked, UnknownFormat
from pipeline.storage import files
from pipeline.storage.places import Place

_OWN_DIGEST = "record_sha256"

Count = Annotated[int, Field(ge=0)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._=-]*$", max_length=200)]


class Record(BaseModel):
    """A JSON file that contains the SHA-256 of its other content, which is verified when it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> bytes:
        """Return the canonical JSON of this record and its digest: sorted keys, indent 2, a final newline."""
        return seal(self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Place) -> Self:
        """Read a record from its file; raises as `from_json` and `files.read_record_bytes` do."""
        return cls.from_json(files.read_record_bytes(path), path)

    @classmethod
    def from_json(cls, data: bytes, path: Place) -> Self:
        """Parse and verify a record; raises CorruptArtefact, which names the path, if it is none or was changed.

        Raises UnknownFormat if it is sound and has a field that this version does not know, and as `upgrade` does.
        """
        try:
            content = json.loads(data)
            today = content
            if isinstance(content, dict):
                content.pop(_OWN_DIGEST, None)
                today = cls.upgrade(content, data, path)
            is_of_today = today is content
            record = cls.model_validate(today)
        except ValidationError as problem:
            first = problem.errors()[0]
            field = ".".join(map(str, first["loc"])) or "the file"
            # A new optional field does not raise the version of its format.
            if first["type"] == "extra_forbidden" and _is_sealed(content, data):
                raise UnknownFormat(
                    f"{path} is sound, and has the field {field}, which this backbeam does not know: update backbeam"
                ) from None
            raise CorruptArtefact(
                f"{path} is corrupt, or of another version of backbeam: {field}: {first['msg']}",
                hint="`backbeam verify` says what to do about it",
            ) from None
        except (ValueError, RecursionError) as problem:
            raise CorruptArtefact(f"{path} is corrupt: not JSON: {problem}") from None
        except MemoryError:
            raise CorruptArtefact(f"{path} is corrupt: reading it needs more memory than is available") from None
        del content, today  # those of a manifest of 100,000 shards take hundreds of megabytes
        if is_of_today and record.to_json() != data:
            raise CorruptArtefact(f"{path} is corrupt: its content does not match its digest")
        return record

    @classmethod
    def upgrade(cls, content: dict[str, Any], data: bytes, path: Place) -> dict[str, Any]:
        """Return the content of a record in the format of today, the same object if it is of that; see `formats`.

        content is without the digest, data the whole file.
        """
        return content


class FileInfo(Record):
    """The name in its folder, the size in bytes and the SHA-256, in hexadecimal, of a file."""

    name: FileName
    num_bytes: Count
    sha256: Digest

    @classmethod
    def of(cls, path: Place) -> "FileInfo":
        """Return the description of a file; raises FileNotFoundError if it does not exist."""
        return FileInfo(name=path.name, num_bytes=files.file_size(path), sha256=files.file_digest(path))

    def check(self, folder: Place) -> None:
        """Check the file in a folder, in pieces; raises CorruptArtefact if it is missing or differs."""
        path = folder / self.name
        files.check_equal(path, files.size_or_none(path), self.num_bytes, "bytes")
        files.check_equal(path, files.file_digest(path), self.sha256, "SHA-256")

    def read(self, folder: Place) -> bytes:
        """Return the file's bytes; raises CorruptArtefact if it is missing or differs."""
        path = folder / self.name
        files.check_equal(path, files.size_or_none(path), self.num_bytes, "bytes")
        return files.read_with_digest(path, self.sha256)


def commit_file(path: Place, data: bytes) -> None:
    """Write a file atomically; in a store, raise Locked rather than replace the object of another process.

    The lease of a store can be lost to another machine while this process is suspended. An existing record with the
    same file digests counts as success.
    """
    if isinstance(path, Path):
        files.write_atomically(path, data)
    elif not files.write_if_absent(path, data) and not _is_equivalent(path.read_bytes(), data):
        raise Locked(f"{path} was written by another process in the meantime, and stays; run again")


def _is_equivalent(existing: bytes, data: bytes) -> bool:
    """Return whether two files are equal, or are records that name the same files with the same digests."""
    if existing == data:
        return True
    try:
        named = sorted(_find_named_files(json.loads(existing)))
        expected = sorted(_find_named_files(json.loads(data)))
    except ValueError:  # not JSON
        return False
    return bool(expected) and named == expected


def _find_named_files(node: object) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if {"name", "sha256"} <= node.keys():
            yield node["name"], node["sha256"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _find_named_files(child)


def seal(content: dict[str, Any]) -> bytes:
    """Return the file of a record with this content: its canonical JSON (sorted keys, indent 2) with its digest."""
    lines = _dump_fields(content)
    digest = files.digest_of(_join_fields(lines))
    return _join_fields(lines | _dump_fields({_OWN_DIGEST: digest}))


def _is_sealed(content: dict[str, Any], data: bytes) -> bool:
    try:
        return seal(content) == data
    except RecursionError:  # deeper than Python writes
        return False


def _dump_fields(content: dict[str, Any]) -> dict[str, str]:
    """Return the canonical JSON of each field. A manifest's takes seconds: make it once."""
    dumped = {name: json.dumps(value, sort_keys=True, indent=2) for name, value in content.items()}
    return {name: f"  {json.dumps(name)}: " + text.replace("\n", "\n  ") for name, text in dumped.items()}


def _join_fields(lines: dict[str, str]) -> bytes:
    """Return the canonical JSON of a record from that of its fields."""
    return ("{\n" + ",\n".join(lines[name] for name in sorted(lines)) + "\n}\n").encode()


def _check_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$"
UtcTime = Annotated[str, StringConstraints(pattern=_TIME), AfterValidator(_check_time)]


def now() -> str:
    """Return the current time in the format of records: ISO 8601, UTC, milliseconds."""
    return format_time(datetime.now(UTC))


def format_time(time: datetime) -> str:
    """Return a time in UTC in the format of records."""
    return time.isoformat(timespec="milliseconds")
