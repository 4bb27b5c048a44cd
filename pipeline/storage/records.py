"""JSON records that carry the digest of their own content."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from model.errors import CorruptArtefact
from pipeline.storage.files import check_file, file_digest, file_size, read_checked, read_record
from pipeline.storage.places import Place

_OWN_DIGEST = "record_sha256"


Count = Annotated[int, Field(ge=0)]


Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._=-]*$", max_length=200)]


class Record(BaseModel):
    """A JSON object that backbeam writes; it carries the digest of itself, and is trusted only if that is right."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> bytes:
        """Return the one way to write this record: sorted keys, two spaces, a newline at the end, its own digest."""
        content = self.model_dump(mode="json")
        return _canonical(content | {_OWN_DIGEST: hashlib.sha256(_canonical(content)).hexdigest()})

    @classmethod
    def load(cls, path: Place) -> Self:
        """Read a record from its file; raises CorruptArtefact as `from_json` and `storage.read_record` do."""
        return cls.from_json(read_record(path), path)

    @classmethod
    def from_json(cls, data: bytes, path: Place) -> Self:
        """Read a record back.

        Raises:
            CorruptArtefact: it is no such record, or any bit of it has changed; the message names path.
        """
        try:
            content = json.loads(data)
            if isinstance(content, dict):
                content.pop(_OWN_DIGEST, None)
            record = cls.model_validate(content)
        except ValidationError as problem:
            first = problem.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise CorruptArtefact(
                f"{path} is corrupt, or of another version of backbeam: {place}: {first['msg']}; `backbeam verify` "
                "says what to do about it"
            ) from None
        except (ValueError, RecursionError) as problem:
            raise CorruptArtefact(f"{path} is corrupt: it is no JSON: {problem}") from None
        except MemoryError:
            raise CorruptArtefact(f"{path} is corrupt: it asks for more memory than there is") from None
        if record.to_json() != data:
            raise CorruptArtefact(f"{path} is corrupt: its content does not have the digest that it states")
        return record


class FileInfo(Record):
    """A file and what must be in it.

    Attributes:
        name: in its folder.
        num_bytes: its length.
        sha256: of its bytes.
    """

    name: FileName
    num_bytes: Count
    sha256: Digest

    @classmethod
    def of(cls, path: Place) -> "FileInfo":
        """Describe the file that is at a place; raises FileNotFoundError if there is none."""
        return FileInfo(name=path.name, num_bytes=file_size(path), sha256=file_digest(path))

    def check(self, folder: Place) -> None:
        """Check the file in a folder; raises CorruptArtefact as `storage.check_file` does."""
        check_file(folder / self.name, self.num_bytes, self.sha256)

    def read(self, folder: Place) -> bytes:
        """Return the file's bytes, checked; raises CorruptArtefact as `storage.read_checked` does."""
        return read_checked(folder / self.name, self.num_bytes, self.sha256)


def _canonical(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, sort_keys=True, indent=2) + "\n").encode()


def _is_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$"


UtcTime = Annotated[str, StringConstraints(pattern=_TIME), AfterValidator(_is_time)]


def now() -> str:
    """Return the time as records have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
