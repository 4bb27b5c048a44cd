"""s3:// by boto3. Endpoint, region and credentials are the environment's, as boto3 finds them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
from pipeline.stores.store import CONNECT_SECONDS, READ_SECONDS, TRIES, failed, split_uri

_MOST_DELETED = 1000  # in a request
_ONE_REQUEST = 2**26  # bytes; what is larger goes in parts, and none of them stays if one fails
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
    status = problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if status in (401, 403):
        return failed(uri, f"the store refuses these credentials, or they may not do this: {code}")
    return failed(uri, f"the store answers {code} to {problem.operation_name}")


def _code(problem: ClientError) -> str:
    return str(problem.response.get("Error", {}).get("Code", "nothing that is known"))
