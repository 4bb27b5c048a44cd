"""s3:// by boto3. Endpoint, region and credentials are the environment's, as boto3 finds them."""

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import islice
from typing import IO, Any
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from model.errors import StorageFailed
from pipeline.places import missing
from pipeline.stores.store import CONNECT_SECONDS, READ_SECONDS, TRIES, failed, holds, split_uri

_MOST_DELETED = 1000  # in a request
_ONE_REQUEST = 2**26  # bytes; what is larger goes in parts, and none of them stays if one fails
_PART_BYTES = 2**24
_ABSENT = ("404", "NoSuchKey", "NotFound")


class AmazonStore:
    """S3, or what speaks its language."""

    @cached_property
    def _client(self) -> Any:
        tries = {"mode": "standard", "max_attempts": TRIES}
        config = Config(retries=tries, connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS)
        return boto3.session.Session().client("s3", config=config)

    def size(self, uri: str) -> int | None:
        """See `store.Store`."""
        bucket, name = split_uri(uri)
        with _failures(uri):
            try:
                return int(self._client.head_object(Bucket=bucket, Key=name)["ContentLength"])
            except ClientError as problem:
                if _code(problem) in _ABSENT:
                    return None
                raise

    def read(self, uri: str, start: int = 0, num_bytes: int | None = None) -> bytes:
        """See `store.Store`."""
        bucket, name = split_uri(uri)
        whole = start == 0 and num_bytes is None
        wanted = {} if whole else {"Range": f"bytes={start}-{'' if num_bytes is None else start + num_bytes - 1}"}
        with _failures(uri):
            try:
                data: bytes = self._client.get_object(Bucket=bucket, Key=name, **wanted)["Body"].read()
            except ClientError as problem:
                if _code(problem) in _ABSENT:
                    raise missing(uri) from None
                if _code(problem) in ("416", "InvalidRange"):  # it ends before start
                    return b""
                raise
        return data

    def put(self, uri: str, content: IO[bytes], num_bytes: int) -> None:
        """See `store.Store`."""
        bucket, name = split_uri(uri)
        with _failures(uri):
            if num_bytes <= _ONE_REQUEST:
                self._client.put_object(Bucket=bucket, Key=name, Body=content, ContentLength=num_bytes)
            else:
                parts = TransferConfig(multipart_threshold=_ONE_REQUEST, use_threads=False)
                self._client.upload_fileobj(content, bucket, name, Config=parts)

    def put_new(self, uri: str, content: IO[bytes], num_bytes: int) -> bool:
        """See `store.Store`."""
        put = self._put_once if num_bytes <= _ONE_REQUEST else self._put_parts
        return self._put_if(uri, content, num_bytes, lambda: put(uri, content, {"IfNoneMatch": "*"}))

    def read_version(self, uri: str) -> tuple[bytes, str] | None:
        """See `store.VersionedStore`: the version is the ETag."""
        bucket, name = split_uri(uri)
        with _failures(uri):
            try:
                answer = self._client.get_object(Bucket=bucket, Key=name)
            except ClientError as problem:
                if _code(problem) in _ABSENT:
                    return None
                raise
            return answer["Body"].read(), answer["ETag"]

    def replace(self, uri: str, data: bytes, version: str) -> bool:
        """See `store.VersionedStore`."""
        content = io.BytesIO(data)
        return self._put_if(uri, content, len(data), lambda: self._put_once(uri, content, {"IfMatch": version}))

    def _put_if(self, uri: str, content: IO[bytes], num_bytes: int, put: Callable[[], None]) -> bool:
        with _failures(uri):
            for _ in range(TRIES):
                content.seek(0)
                try:
                    put()
                except ClientError as problem:
                    if _status(problem) == 409:  # another conditional request was under way
                        continue
                    if _status(problem) == 412 or (_code(problem) in _ABSENT):
                        return _was_tried_again(problem) and holds(self, uri, content, num_bytes)
                    raise
                return True
            raise failed(uri, "others write to it all the time")

    def _put_once(self, uri: str, content: IO[bytes], condition: dict[str, str]) -> None:
        bucket, name = split_uri(uri)
        self._client.put_object(Bucket=bucket, Key=name, Body=content, **condition)

    def _put_parts(self, uri: str, content: IO[bytes], condition: dict[str, str]) -> None:
        bucket, name = split_uri(uri)
        upload = {"Bucket": bucket, "Key": name}
        upload["UploadId"] = self._client.create_multipart_upload(**upload)["UploadId"]
        parts: list[dict[str, Any]] = []
        try:
            while some := content.read(_PART_BYTES):
                answer = self._client.upload_part(**upload, PartNumber=len(parts) + 1, Body=some)
                parts.append({"PartNumber": len(parts) + 1, "ETag": answer["ETag"]})
            self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **condition)
        except BaseException:
            with suppress(ClientError, BotoCoreError):  # what failed first is what to say
                self._client.abort_multipart_upload(**upload)
            raise

    def walk(self, uri: str) -> Iterator[str]:
        """See `store.Store`."""
        bucket, name = split_uri(uri)
        with _failures(uri):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=bucket, Prefix=f"{name}/" if name else ""):
                yield from (f"s3://{bucket}/{found['Key']}" for found in page.get("Contents", ()))

    def delete(self, uris: Iterable[str]) -> None:
        """See `store.Store`."""
        left = iter(uris)
        while some := list(islice(left, _MOST_DELETED)):
            names = [{"Key": split_uri(uri)[1]} for uri in some]
            with _failures(some[0]):
                done = self._client.delete_objects(
                    Bucket=split_uri(some[0])[0], Delete={"Objects": names, "Quiet": True}
                )
            for problem in done.get("Errors", ()):
                raise failed(f"{some[0].rpartition('/')[0]}: {problem['Key']}", f"not deleted: {problem['Code']}")


@contextmanager
def _failures(uri: str) -> Iterator[None]:
    """Turn what boto3 raises into StorageFailed. Its text stays out of messages: it may hold anything."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError):
        raise failed(uri, "no credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from None
    except ClientError as problem:
        raise _explain(uri, problem) from None
    except (BotoCoreError, Boto3Error, OSError, ValueError) as problem:
        if isinstance(problem, FileNotFoundError):
            raise
        endpoint = urlsplit(getattr(problem, "kwargs", {}).get("endpoint_url", "")).netloc.rpartition("@")[2]
        raise failed(uri, f"{endpoint or 'the store'} cannot be used: {type(problem).__name__}") from None


def _explain(uri: str, problem: ClientError) -> StorageFailed:
    code = _code(problem)
    if code == "NoSuchBucket":
        return failed(uri, f"there is no bucket {split_uri(uri)[0]}")
    if _status(problem) in (401, 403):
        return failed(uri, f"the store refuses these credentials, or they may not do this: {code}")
    return failed(uri, f"the store answers {code} to {problem.operation_name}")


def _status(problem: ClientError) -> object:
    return problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode")


def _was_tried_again(problem: ClientError) -> bool:
    """Tell whether an earlier try was answered by an error, or not at all: it may have been done all the same."""
    return bool(problem.response.get("ResponseMetadata", {}).get("RetryAttempts"))


def _code(problem: ClientError) -> str:
    return str(problem.response.get("Error", {}).get("Code", "nothing that is known"))
