"""gs:// by Google's client. Credentials are the environment's: Application Default Credentials."""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import IO, Any

import requests
from google.api_core.exceptions import GoogleAPIError, NotFound, PreconditionFailed, RetryError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud import storage as google_storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY

from model.errors import StorageFailed
from pipeline.places import missing
from pipeline.stores.store import CONNECT_SECONDS, READ_SECONDS, failed, holds, split_uri

_RETRY = DEFAULT_RETRY.with_timeout(20.0)  # seconds, all waits together
_TIMEOUT = (CONNECT_SECONDS, READ_SECONDS)
_HOW = {"retry": _RETRY, "timeout": _TIMEOUT}


class GoogleStore:
    """Google Cloud Storage, or an emulator that STORAGE_EMULATOR_HOST names."""

    @cached_property
    def _client(self) -> Any:
        return google_storage.Client(project=None)

    def size(self, uri: str) -> int | None:
        """See `store.Store`."""
        with _failures(uri):
            bucket, name = split_uri(uri)
            found = self._client.bucket(bucket).get_blob(name, **_HOW)
        return None if found is None else int(found.size)

    def read(self, uri: str, start: int = 0, num_bytes: int | None = None) -> bytes:
        """See `store.Store`."""
        wanted = {} if num_bytes is None else {"end": start + num_bytes - 1}
        with _failures(uri):
            try:  # as it is stored: it is not decompressed on the way
                data: bytes = self._object(uri).download_as_bytes(start=start, raw_download=True, **wanted, **_HOW)
            except NotFound:
                raise missing(uri) from None
        return data

    def put(self, uri: str, content: IO[bytes], num_bytes: int) -> None:
        """See `store.Store`."""
        with _failures(uri):
            self._put(uri, content, num_bytes, **_HOW)

    def put_new(self, uri: str, content: IO[bytes], num_bytes: int) -> bool:
        """See `store.Store`."""
        return self._put_if(uri, content, num_bytes, 0)

    def read_version(self, uri: str) -> tuple[bytes, str] | None:
        """See `store.VersionedStore`: the version is the generation."""
        with _failures(uri):
            bucket, name = split_uri(uri)
            found = self._client.bucket(bucket).get_blob(name, **_HOW)
            if found is None:
                return None
            version = found.generation
            try:  # by its name, not by the link that was given to whoever put it
                data = self._object(uri).download_as_bytes(raw_download=True, if_generation_match=version, **_HOW)
            except (NotFound, PreconditionFailed):  # replaced in between; a newer version is asked for next time
                data = b""
            return data, str(version)

    def replace(self, uri: str, data: bytes, version: str) -> bool:
        """See `store.VersionedStore`."""
        return self._put_if(uri, io.BytesIO(data), len(data), int(version))

    def _put_if(self, uri: str, content: IO[bytes], num_bytes: int, generation: int) -> bool:
        problems: list[Exception] = []  # of tries that were answered by an error, but may have been done all the same
        how = _HOW | {"retry": partial(_RETRY, on_error=problems.append)}
        with _failures(uri):
            try:
                self._put(uri, content, num_bytes, if_generation_match=generation, **how)
            except PreconditionFailed:
                return bool(problems) and holds(self, uri, content, num_bytes)
        return True

    def _put(self, uri: str, content: IO[bytes], num_bytes: int, **how: Any) -> None:
        self._object(uri).upload_from_file(
            content, size=num_bytes, content_type="application/octet-stream", checksum="crc32c", **how
        )

    def walk(self, uri: str) -> Iterator[str]:
        """See `store.Store`."""
        bucket, name = split_uri(uri)
        with _failures(uri):
            for found in self._client.list_blobs(bucket, prefix=f"{name}/" if name else None, **_HOW):
                yield f"gs://{bucket}/{found.name}"

    def delete(self, uris: Iterable[str]) -> None:
        """See `store.Store`."""
        for uri in uris:
            with _failures(uri), suppress(NotFound):
                self._object(uri).delete(**_HOW)

    def _object(self, uri: str) -> Any:
        bucket, name = split_uri(uri)
        return self._client.bucket(bucket).blob(name)


@contextmanager
def _failures(uri: str) -> Iterator[None]:
    """Turn what the client raises into StorageFailed. Its text stays out of messages: it may hold anything."""
    try:
        yield
    except DefaultCredentialsError:
        raise failed(
            uri, "no credentials: set GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth application-default login"
        ) from None
    except GoogleAuthError as problem:
        raise failed(uri, f"the credentials cannot be used: {type(problem).__name__}") from None
    except GoogleAPIError as problem:
        raise _explain(uri, problem) from None
    except (requests.RequestException, InvalidResponse, DataCorruption, OSError, ValueError) as problem:
        if isinstance(problem, FileNotFoundError):
            raise
        raise failed(uri, f"{_endpoint()} cannot be used: {type(problem).__name__}") from None


def _explain(uri: str, problem: GoogleAPIError) -> StorageFailed:
    code = getattr(problem, "code", None)
    if code == 404:
        return failed(uri, f"there is no bucket {split_uri(uri)[0]}")
    if code in (401, 403):
        return failed(uri, f"the store refuses these credentials, or they may not do this: {int(code)}")
    if isinstance(problem, RetryError):
        return failed(uri, f"{_endpoint()} does not answer: {type(problem.cause).__name__}")
    return failed(uri, f"the store answers {type(problem).__name__}")


def _endpoint() -> str:
    return os.environ.get("STORAGE_EMULATOR_HOST", "the store").rpartition("@")[2]
