"""Object stores, by obstore: s3://BUCKET/NAME, gs://BUCKET/NAME and az://CONTAINER/NAME.

Endpoint, region and credentials are the environment's. An object is put whole or not at all: by one request, or in
parts that a last request puts together. Every state of an object has a version, and a change can depend on it.
"""

import io
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.util import find_spec
from itertools import islice
from typing import IO, Any, BinaryIO

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from model.errors import BadUsage, StorageFailed
from pipeline.processes import run_interruptible
from pipeline.storage.places import file_not_found

_ANSWER_SECONDS = 30  # until a request is answered, and between two pieces of an answer
_UPLOAD_SECONDS = 120  # until a part of an upload is answered, its sending included
_PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0)  # seconds between tries, of which there is one more
# No request is tried again after 45 s: one that was never answered is, once.
_RETRIES = {"retry_timeout": timedelta(seconds=45), "backoff": {"init_backoff": timedelta(seconds=_PAUSES[0])}}
_TIMEOUTS = {"connect_timeout": "10s", "timeout": "6h"}  # the second is of a whole answer, which may be long
_PART_BYTES = 2**23  # what is larger goes in parts; two at a time, each in _UPLOAD_SECONDS, need 140 kB/s
_PARTS_AT_ONCE = 2
_AT_ONCE = 1000  # names in a page of a listing, and in a request that deletes
_BUFFER_BYTES = 2**22  # asked for at a time where an object is read as a stream

_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "gs": ("GOOGLE_BASE_URL", "STORAGE_EMULATOR_HOST"),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE with backbeam[aws] installed",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth application-default login",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or other credentials that Azure's tools take",
}
# What obstore says if the last place to look for credentials, a server of the cloud's own machines, is not there.
_NO_CREDENTIALS = re.compile("^no cred|token request|/latest/(api|meta-data)/|service account file|Account must be")
_NO_BUCKET = "there is no bucket or container of that name"
_STATUS = re.compile(r"status code: (\d{3})")
_HOST = re.compile(r"https?://(?:[^/\s]*@)?([\w.-]+(?::\d+)?)[/\s?]")
_PASSING = {"408", "429", "500", "502", "503", "504"}


def find_store(uri: str) -> "ObjectStore":
    """Return the store that has a URI; raises BadUsage if its scheme is none of a store."""
    scheme = uri.partition("://")[0]
    if scheme not in _OPENERS:
        raise BadUsage(f"{uri}: there is no store for {scheme}://; expected s3://, gs:// or az://")
    return ObjectStore(scheme, uri.split("/")[2])


def failed(uri: str, why: str) -> StorageFailed:
    """Return the error of a store that refused or did not answer."""
    return StorageFailed(f"storage: {uri}: {why}")


def _name(uri: str) -> str:
    return uri.partition("://")[2].partition("/")[2]


@dataclass(frozen=True)
class ObjectStore:
    """A bucket of S3, Google Cloud Storage or another store that speaks their languages, or a container of Azure.

    Every method takes whole URIs, and raises StorageFailed, which names the URI, if the store refuses or is away.
    """

    scheme: str
    bucket: str

    def size(self, uri: str) -> int | None:
        """Return the length of an object in bytes; None if there is none of that name."""
        return found["size"] if (found := self.look(uri)) else None

    def look(self, uri: str) -> Mapping[str, Any] | None:
        """Return `size`, `e_tag` and more of an object; None if there is none of that name."""
        with _failures(uri), suppress(FileNotFoundError):
            return run_interruptible(lambda: obstore.head(self._client(), _name(uri)))
        return None

    def read(self, uri: str, start: int = 0, num_bytes: int | None = None, e_tag: str | None = None) -> bytes:
        """Return an object's bytes from start on, to its end or num_bytes at most; raises FileNotFoundError.

        With an ETag, only of the state of the object that has it; StorageFailed if there is another by now.
        """
        if num_bytes == 0:
            return b""
        wanted: dict[str, Any] = {"if_match": e_tag} if e_tag else {}
        if start or num_bytes is not None:
            wanted["range"] = {"offset": start} if num_bytes is None else (start, start + num_bytes)
        with _failures(uri):
            try:
                return self._get(uri, wanted)[0]
            except FileNotFoundError:
                raise file_not_found(uri) from None
            except exceptions.GenericError:
                if "range" in wanted and start >= (self.size(uri) or 0):  # it ends before start
                    return b""
                raise

    def read_version(self, uri: str) -> tuple[bytes, str] | None:
        """Return an object's bytes and the version that they are of; None if there is none."""
        with _failures(uri), suppress(FileNotFoundError):
            data, found = self._get(uri, {})
            return data, str(found[self._versioned_by])
        return None

    def put(self, uri: str, content: IO[bytes], num_bytes: int) -> None:
        """Put an object of num_bytes, whole or not at all; one that stands there is replaced."""
        in_parts = num_bytes > _PART_BYTES
        how: dict[str, Any] = {"use_multipart": in_parts, "chunk_size": _PART_BYTES, "max_concurrency": _PARTS_AT_ONCE}
        with _failures(uri, bucket_may_be_missing=True):
            client = self._client(_UPLOAD_SECONDS if in_parts else _ANSWER_SECONDS)
            run_interruptible(lambda: obstore.put(client, _name(uri), content, **how))

    def put_new(self, uri: str, content: IO[bytes], num_bytes: int) -> bool:
        """Put an object of num_bytes, whole, unless one stands there.

        Returns:
            whether it was put. Where the answer to an earlier try was lost, one of the same content is ours.
        """
        return self._put_if(uri, content, num_bytes, "create")

    def replace(self, uri: str, data: bytes, version: str) -> bool:
        """Put an object in place of one of that version; returns whether that was still there."""
        return self._put_if(uri, io.BytesIO(data), len(data), {self._versioned_by: version})

    def walk(self, uri: str) -> Iterator[str]:
        """Yield every object below a folder, whatever the depth; raises StorageFailed if there is no such bucket."""
        with _failures(uri):
            pages = obstore.list(self._client(), _name(uri) or None, chunk_size=_AT_ONCE)
            while page := run_interruptible(lambda: next(pages, None)):
                yield from (f"{self.scheme}://{self.bucket}/{found['path']}" for found in page)

    def delete(self, uris: Iterable[str]) -> None:
        """Delete objects; one that is not there is none to delete."""
        left = iter(uris)
        while some := list(islice(left, _AT_ONCE)):
            names = [_name(uri) for uri in some]
            try:
                self._delete(some[0], names)
            except FileNotFoundError:  # of one of them, and the others may not have been tried
                for uri, name in zip(some, names, strict=True):
                    with suppress(FileNotFoundError):
                        self._delete(uri, [name])

    @property
    def _versioned_by(self) -> str:
        return "version" if self.scheme == "gs" else "e_tag"  # Google's generations; an ETag is no condition there

    def _client(self, answer_seconds: int = _ANSWER_SECONDS, retries: int = len(_PAUSES)) -> Any:
        return _open(self.scheme, self.bucket, answer_seconds, retries)

    def _get(self, uri: str, wanted: Any) -> tuple[bytes, Mapping[str, Any]]:
        client = self._client()

        def get() -> tuple[bytes, Mapping[str, Any], int]:
            answer = obstore.get(client, _name(uri), options=wanted)
            start, stop = answer.range
            return bytes(answer.bytes()), answer.meta, stop - start

        data, found, num_bytes = run_interruptible(get)
        if len(data) != num_bytes:
            raise failed(uri, f"{len(data)} of {num_bytes} bytes were read; run again")
        return data, found

    def _put_if(self, uri: str, content: IO[bytes], num_bytes: int, mode: Any) -> bool:
        """Put an object by one request on a condition. Tries are counted here: an earlier one may have been done."""
        with _failures(uri, bucket_may_be_missing=True):
            client = self._client(_ANSWER_SECONDS if num_bytes <= _PART_BYTES else 5 * _UPLOAD_SECONDS, retries=0)
            was_tried = False
            for pause in (*_PAUSES, None):
                content.seek(0)
                try:
                    run_interruptible(lambda: obstore.put(client, _name(uri), content, mode=mode, use_multipart=False))
                except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                    if mode != "create" or self.size(uri) is not None:
                        return was_tried and self._holds(uri, content, num_bytes)
                except exceptions.GenericError as problem:
                    if pause is None or not _may_pass(problem):
                        raise
                    was_tried = True
                else:
                    return True
                time.sleep(pause or 0)  # S3 also says that it exists while another's request is under way
        raise failed(uri, "others write to it all the time; run again")

    def _holds(self, uri: str, content: IO[bytes], num_bytes: int) -> bool:
        """Tell whether an object is, byte by byte, what a stream holds."""
        if self.size(uri) != num_bytes:
            return False
        content.seek(0)
        starts = range(0, num_bytes, _BUFFER_BYTES)
        return all(self.read(uri, start, _BUFFER_BYTES) == content.read(_BUFFER_BYTES) for start in starts)

    def _delete(self, uri: str, names: list[str], tries: int = 3) -> None:
        with _failures(uri):
            try:
                run_interruptible(lambda: obstore.delete(self._client(), names))
            except FileNotFoundError as problem:
                if re.search("NoSuchBucket|container does not exist", str(problem)):
                    raise failed(uri, _NO_BUCKET) from None
                raise
            except exceptions.GenericError as problem:  # obstore does not try again where a connection broke off
                if tries == 1 or not _may_pass(problem):
                    raise
                self._delete(uri, names, tries - 1)


def open_remote(uri: str) -> BinaryIO:
    """Open an object for reading, from any position; raises FileNotFoundError if there is none."""
    found = find_store(uri).look(uri)
    if found is None:
        raise file_not_found(uri)
    return io.BufferedReader(RemoteStream(uri, found["size"], found["e_tag"]), _BUFFER_BYTES)


class RemoteStream(io.RawIOBase):
    """The bytes of one state of an object, a request for each read; StorageFailed if it is replaced meanwhile."""

    def __init__(self, uri: str, num_bytes: int, e_tag: str | None = None) -> None:
        self._uri = uri
        self._num_bytes = num_bytes
        self._e_tag = e_tag
        self._place = 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read from anywhere."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._num_bytes}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # the type of buffers has no name in 3.11
        """Fill a buffer as far as the object goes, and return how far."""
        wanted = max(0, min(len(buffer), self._num_bytes - self._place))
        data = find_store(self._uri).read(self._uri, self._place, wanted, self._e_tag)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


@cache
def _open(scheme: str, bucket: str, answer_seconds: int, retries: int) -> Any:
    endpoint = next((os.environ[name] for name in _ENDPOINTS.get(scheme, ()) if os.environ.get(name)), "")
    if endpoint and "://" not in endpoint:  # as Google's client takes that of an emulator
        endpoint = f"http://{endpoint}"
    client = _TIMEOUTS | {"allow_http": endpoint.startswith("http://"), "read_timeout": f"{answer_seconds}s"}
    given: dict[str, Any] = {"endpoint": endpoint.rstrip("/")} if endpoint else {}
    given |= {"client_options": client, "retry_config": _RETRIES | {"max_retries": retries}}
    return _OPENERS[scheme](bucket, given)


def _open_s3(bucket: str, given: dict[str, Any]) -> S3Store:
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return S3Store(bucket, **given)
    if find_spec("boto3"):  # which looks in all the places that Amazon's own tools do, and obstore in fewer
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider

        try:
            given["credential_provider"] = Boto3CredentialProvider()
        except (BotoCoreError, ValueError):
            raise ValueError("no credentials") from None
    elif os.environ.get("AWS_PROFILE"):
        raise BadUsage("AWS_PROFILE is set, and needs boto3: pip install 'backbeam[aws]'")
    return S3Store(bucket, **given)


def _open_gs(bucket: str, given: dict[str, Any]) -> GCSStore:
    if "endpoint" in given:
        given["base_url"] = given.pop("endpoint")
        if "GOOGLE_BASE_URL" not in os.environ:  # an emulator, which asks for no credentials
            given["credential_provider"] = lambda: {"token": "none", "expires_at": None}
    return GCSStore(bucket, **given)


_OPENERS: dict[str, Callable[[str, dict[str, Any]], Any]] = {
    "s3": _open_s3,
    "gs": _open_gs,
    "az": lambda container, given: AzureStore(container, **given),
}


@contextmanager
def _failures(uri: str, bucket_may_be_missing: bool = False) -> Iterator[None]:
    """Turn what obstore raises into StorageFailed. Its text stays out of messages: it may hold anything."""
    try:
        yield
    except FileNotFoundError:
        if bucket_may_be_missing:
            raise failed(uri, _NO_BUCKET) from None
        raise
    except (exceptions.BaseError, ValueError) as problem:
        raise failed(uri, _explain(uri, problem)) from None
    except OSError as problem:
        raise failed(uri, f"what goes there cannot be read: {type(problem).__name__}") from None


def _explain(uri: str, problem: Exception) -> str:
    text = str(problem)
    status = _STATUS.search(text)
    if _NO_CREDENTIALS.search(text):
        return f"no credentials that can be used: {_CREDENTIALS[uri.partition('://')[0]]}"
    if status and status[1] in ("401", "403"):
        return f"the store refuses these credentials, or they may not do this: {status[1]}"
    if isinstance(problem, exceptions.PreconditionError):
        return "it was replaced while it was read; run again"
    if status:
        return _NO_BUCKET if status[1] == "404" else f"the store answers {status[1]}"
    if "parsing Path" in text:
        return "an object there has a name that cannot be used: with an empty part, . or .., or a control character"
    host = _HOST.search(text)
    return f"{host[1] if host else 'the store'} cannot be used: it cannot be reached, or does not answer"


def _may_pass(problem: exceptions.GenericError) -> bool:
    status = _STATUS.search(str(problem))
    return status[1] in _PASSING if status else True
