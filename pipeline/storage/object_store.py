"""Object stores, by obstore: s3://BUCKET/NAME, gs://BUCKET/NAME and az://CONTAINER/NAME.

Endpoint, region and credentials come from the environment. Writes are atomic: one request, or a multipart upload that a
last request completes. Every state of an object has a version, on which a conditional write can depend.
"""

import io
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from importlib.util import find_spec
from itertools import islice
from typing import IO, Any

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from model.errors import BadUsage
from pipeline.processes import run_interruptible
from pipeline.storage.local_disk import file_not_found
from pipeline.storage.store_errors import NO_BUCKET, is_transient, storage_error, translate_errors

_ANSWER_SECONDS = 30  # until a request is answered, and between two pieces of an answer
_UPLOAD_SECONDS = 120  # to send a part of an upload and receive the answer
_PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0)  # seconds between attempts, of which there is one more
# A request is not retried later than 45 s after it began, so one that times out after 30 s is retried once.
_RETRIES = {"retry_timeout": timedelta(seconds=45), "backoff": {"init_backoff": timedelta(seconds=_PAUSES[0])}}
_TIMEOUTS = {"connect_timeout": "10s", "timeout": "6h"}  # the second limits a whole answer, which may be large
_PART_BYTES = 2**23  # larger objects are uploaded in parts; two at once within _UPLOAD_SECONDS need 140 kB/s
_PARTS_AT_ONCE = 2
_PAGE_SIZE = 1000  # names in a page of a listing, and in a request that deletes; the maximum of S3
BUFFER_BYTES = 2**22  # read by each request of a stream

_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "gs": ("GOOGLE_BASE_URL", "STORAGE_EMULATOR_HOST"),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}


def find_store(uri: str) -> "ObjectStore":
    """Return the store of a URI; raises BadUsage if its scheme is unknown."""
    scheme = uri.partition("://")[0]
    if scheme not in _OPENERS:
        raise BadUsage(f"{uri}: there is no store for {scheme}://; expected s3://, gs:// or az://")
    return ObjectStore(scheme, uri.split("/")[2])


def _object_name(uri: str) -> str:
    return uri.partition("://")[2].partition("/")[2]


@dataclass(frozen=True)
class ObjectStore:
    """A bucket of S3, Google Cloud Storage or a compatible store, or a container of Azure.

    Methods take whole URIs, and raise StorageFailed, which names the URI, if the store refuses or does not answer.
    """

    scheme: str
    bucket: str

    def size(self, uri: str) -> int | None:
        """Return the size of an object in bytes; None if it does not exist."""
        metadata = self.head(uri)
        return metadata["size"] if metadata else None

    def head(self, uri: str) -> Mapping[str, Any] | None:
        """Return the metadata of an object, such as `size` and `e_tag`; None if it does not exist."""
        with translate_errors(uri), suppress(FileNotFoundError):
            return run_interruptible(lambda: obstore.head(self._client(), _object_name(uri)))
        return None

    def read(self, uri: str, start: int = 0, num_bytes: int | None = None, e_tag: str | None = None) -> bytes:
        """Return num_bytes of an object from start on, or all up to its end; raises FileNotFoundError if it is missing.

        If e_tag is given, StorageFailed is raised if it is not that of the object, which has been replaced.
        """
        if num_bytes == 0:
            return b""
        options: dict[str, Any] = {"if_match": e_tag} if e_tag else {}
        if start or num_bytes is not None:
            options["range"] = {"offset": start} if num_bytes is None else (start, start + num_bytes)
        with translate_errors(uri):
            try:
                data, _ = self._get(uri, options)
                return data
            except FileNotFoundError:
                raise file_not_found(uri) from None
            except exceptions.GenericError:
                # Stores refuse a range that begins at or after the end.
                if "range" in options and start >= (self.size(uri) or 0):
                    return b""
                raise

    def read_version(self, uri: str) -> tuple[bytes, str] | None:
        """Return an object's bytes and their version; None if it does not exist."""
        with translate_errors(uri), suppress(FileNotFoundError):
            data, metadata = self._get(uri, {})
            return data, str(metadata[self._version_key])
        return None

    def put(self, uri: str, content: IO[bytes], num_bytes: int) -> None:
        """Write an object of num_bytes atomically; an existing object is replaced."""
        multipart = num_bytes > _PART_BYTES
        options: Any = {"use_multipart": multipart, "chunk_size": _PART_BYTES, "max_concurrency": _PARTS_AT_ONCE}
        with translate_errors(uri, bucket_may_be_missing=True):
            client = self._client(_UPLOAD_SECONDS if multipart else _ANSWER_SECONDS)
            upload = partial(obstore.put, client, _object_name(uri), content, **options)
            run_interruptible(upload, is_write=True, is_needed=True)

    def put_new(self, uri: str, content: IO[bytes], num_bytes: int) -> bool:
        """Write an object of num_bytes atomically unless it exists; return whether it was written.

        If the answer to an earlier attempt was lost, an object of equal content counts.
        """
        return self._put_if(uri, content, num_bytes, "create")

    def replace(self, uri: str, data: bytes, version: str) -> bool:
        """Replace an object if it still has that version; return whether it was replaced."""
        return self._put_if(uri, io.BytesIO(data), len(data), {self._version_key: version})

    def walk(self, uri: str) -> Iterator[str]:
        """Yield the URI of every object below a folder, at any depth."""
        return (found for found, _ in self.walk_sizes(uri))

    def walk_sizes(self, uri: str) -> Iterator[tuple[str, int]]:
        """Yield the URI and the size in bytes of every object below a folder, at any depth."""
        with translate_errors(uri):
            pages = obstore.list(self._client(), _object_name(uri) or None, chunk_size=_PAGE_SIZE)
            while page := run_interruptible(lambda: next(pages, None)):
                for metadata in page:
                    yield f"{self.scheme}://{self.bucket}/{metadata['path']}", metadata["size"]

    def list_folder(self, uri: str) -> tuple[list[str], list[str]]:
        """Return the URIs of the objects and of the folders that are directly in a folder."""
        with translate_errors(uri):
            found = run_interruptible(lambda: obstore.list_with_delimiter(self._client(), _object_name(uri) or None))
        root = f"{self.scheme}://{self.bucket}"
        objects = [f"{root}/{metadata['path']}" for metadata in found["objects"]]
        return objects, [f"{root}/{name}" for name in found["common_prefixes"]]

    def delete(self, uris: Iterable[str]) -> None:
        """Delete objects; missing objects are ignored."""
        remaining = iter(uris)
        while page := list(islice(remaining, _PAGE_SIZE)):
            names = [_object_name(uri) for uri in page]
            try:
                self._delete(page[0], names)
            except FileNotFoundError:  # one is missing, and those after it may not have been deleted
                for uri, name in zip(page, names, strict=True):
                    with suppress(FileNotFoundError):
                        self._delete(uri, [name])

    @property
    def _version_key(self) -> str:
        # Google's conditions take generations, not ETags.
        return "version" if self.scheme == "gs" else "e_tag"

    def _client(self, answer_seconds: int = _ANSWER_SECONDS, retries: int = len(_PAUSES)) -> Any:
        return _open(self.scheme, self.bucket, answer_seconds, retries)

    def _get(self, uri: str, options: Any) -> tuple[bytes, Mapping[str, Any]]:
        """Return bytes of an object and its metadata, after checking that the answer is complete."""
        client = self._client()

        def get() -> tuple[bytes, Mapping[str, Any], int]:
            answer = obstore.get(client, _object_name(uri), options=options)
            start, stop = answer.range
            return bytes(answer.bytes()), answer.meta, stop - start

        data, metadata, num_bytes = run_interruptible(get)
        if len(data) != num_bytes:
            raise storage_error(uri, f"{len(data)} of {num_bytes} bytes were read; run again")
        return data, metadata

    def _put_if(self, uri: str, content: IO[bytes], num_bytes: int, mode: Any) -> bool:
        """Write an object by one conditional request; return whether the condition held.

        obstore's own retries are switched off: a failed attempt may have been executed, and then the condition fails.
        """
        with translate_errors(uri, bucket_may_be_missing=True):
            client = self._client(_ANSWER_SECONDS if num_bytes <= _PART_BYTES else 5 * _UPLOAD_SECONDS, retries=0)
            may_be_written = False
            for pause in (*_PAUSES, None):
                content.seek(0)
                try:
                    put = partial(obstore.put, client, _object_name(uri), content, mode=mode, use_multipart=False)
                    run_interruptible(put, is_write=True)
                except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                    if mode != "create" or self.size(uri) is not None:
                        return may_be_written and self._has_content(uri, content, num_bytes)
                except exceptions.GenericError as problem:
                    if pause is None or not is_transient(problem):
                        raise
                    may_be_written = True
                else:
                    return True
                # Also after AlreadyExistsError: S3 answers it while another process's request is in progress.
                time.sleep(pause or 0)
        raise storage_error(uri, "other processes keep writing to it; run again")

    def _has_content(self, uri: str, content: IO[bytes], num_bytes: int) -> bool:
        if self.size(uri) != num_bytes:
            return False
        content.seek(0)
        starts = range(0, num_bytes, BUFFER_BYTES)
        return all(self.read(uri, start, BUFFER_BYTES) == content.read(BUFFER_BYTES) for start in starts)

    def _delete(self, uri: str, names: list[str], attempts: int = 3) -> None:
        with translate_errors(uri):
            try:
                run_interruptible(lambda: obstore.delete(self._client(), names), is_write=True)
            except FileNotFoundError as problem:
                if re.search("NoSuchBucket|container does not exist", str(problem)):
                    raise storage_error(uri, NO_BUCKET) from None
                raise
            except exceptions.GenericError as problem:  # obstore does not retry if the connection breaks
                if attempts == 1 or not is_transient(problem):
                    raise
                self._delete(uri, names, attempts - 1)


# Cached because a client holds connections, and credentials that it renews.
@cache
def _open(scheme: str, bucket: str, answer_seconds: int, retries: int) -> Any:
    endpoint = next((os.environ[name] for name in _ENDPOINTS.get(scheme, ()) if os.environ.get(name)), "")
    if endpoint and "://" not in endpoint:  # STORAGE_EMULATOR_HOST may lack the scheme
        endpoint = f"http://{endpoint}"
    client = _TIMEOUTS | {"allow_http": endpoint.startswith("http://"), "read_timeout": f"{answer_seconds}s"}
    options: dict[str, Any] = {"endpoint": endpoint.rstrip("/")} if endpoint else {}
    options |= {"client_options": client, "retry_config": _RETRIES | {"max_retries": retries}}
    return _OPENERS[scheme](bucket, options)


def _open_s3(bucket: str, options: dict[str, Any]) -> S3Store:
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return S3Store(bucket, **options)
    if find_spec("boto3"):  # boto3 finds credentials wherever Amazon's own tools do; obstore does not
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider

        try:
            options["credential_provider"] = Boto3CredentialProvider()
        except (BotoCoreError, ValueError):
            raise ValueError("no credentials") from None
    elif os.environ.get("AWS_PROFILE"):
        raise BadUsage("AWS_PROFILE is set, and needs boto3: pip install 'backbeam[aws]'")
    return S3Store(bucket, **options)


def _open_gs(bucket: str, options: dict[str, Any]) -> GCSStore:
    if "endpoint" in options:
        options["base_url"] = options.pop("endpoint")
        if "GOOGLE_BASE_URL" not in os.environ:  # an emulator, which needs no credentials
            options["credential_provider"] = lambda: {"token": "none", "expires_at": None}
    return GCSStore(bucket, **options)


_OPENERS: dict[str, Callable[[str, dict[str, Any]], Any]] = {
    "s3": _open_s3,
    "gs": _open_gs,
    "az": lambda container, options: AzureStore(container, **options),
}


def open_remote(uri: str) -> io.BufferedReader:
    """Open an object as a seekable stream; raises FileNotFoundError if it does not exist."""
    metadata = find_store(uri).head(uri)
    if metadata is None:
        raise file_not_found(uri)
    return io.BufferedReader(RemoteStream(uri, metadata["size"], metadata["e_tag"]), BUFFER_BYTES)


class RemoteStream(io.RawIOBase):
    """A stream of one state of an object; each read is a request, and fails if the object has been replaced since."""

    def __init__(self, uri: str, num_bytes: int, e_tag: str | None = None) -> None:
        self._uri = uri
        self._num_bytes = num_bytes
        self._e_tag = e_tag
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the position and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._num_bytes}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # the type of buffers has no name in 3.11
        """Fill a buffer, up to the end of the object, and return the number of bytes."""
        num_bytes = max(0, min(len(buffer), self._num_bytes - self._position))
        data = find_store(self._uri).read(self._uri, self._position, num_bytes, self._e_tag)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
