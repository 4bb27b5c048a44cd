"""Errors of object stores, as StorageFailed. The texts of obstore are not shown: they may contain credentials."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore import exceptions

from model.errors import StorageFailed

CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE with backbeam[aws] installed",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth application-default login",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or other credentials that Azure's tools take",
}
# Messages of obstore if no credentials are found, not even by the metadata server that a cloud's own machines have.
_NO_CREDENTIALS = re.compile("^no cred|token request|/latest/(api|meta-data)/|service account file|Account must be")
NO_BUCKET = "there is no bucket or container of that name"
_STATUS = re.compile(r"status code: (\d{3})")
_HOST = re.compile(r"https?://(?:[^/\s]*@)?([\w.-]+(?::\d+)?)[/\s?]")
_TRANSIENT_STATUSES = {"408", "429", "500", "502", "503", "504"}


def storage_error(uri: str, reason: str) -> StorageFailed:
    """Return the error of an object, with the reason."""
    return StorageFailed(f"storage: {uri}: {reason}")


@contextmanager
def translate_errors(uri: str, bucket_may_be_missing: bool = False) -> Iterator[None]:
    """Translate obstore's errors to StorageFailed."""
    try:
        yield
    except FileNotFoundError:
        if bucket_may_be_missing:
            raise storage_error(uri, NO_BUCKET) from None
        raise
    except (exceptions.BaseError, ValueError) as problem:
        failure = storage_error(uri, _explain(uri, problem))
        failure.is_forbidden = _status_of(str(problem)) == "403"
        raise failure from None
    except OSError as problem:
        raise storage_error(uri, f"the data to upload cannot be read: {type(problem).__name__}") from None


def _explain(uri: str, problem: Exception) -> str:
    text = str(problem)
    status = _status_of(text)
    if _NO_CREDENTIALS.search(text):
        return f"no credentials that can be used: {CREDENTIALS[uri.partition('://')[0]]}"
    if status in ("401", "403"):
        return f"the store refuses these credentials, or they may not do this: {status}"
    if isinstance(problem, exceptions.PreconditionError):
        return "it was replaced while it was read; run again"
    if status:
        return NO_BUCKET if status == "404" else f"the store answers {status}"
    if "parsing Path" in text:
        return "the name of an object there is not supported: it has an empty part, . or .., or a control character"
    host = _HOST.search(text)
    return f"{host[1] if host else 'the store'} cannot be used: it cannot be reached, or does not answer"


def is_transient(problem: exceptions.GenericError) -> bool:
    """Return whether a request that failed so may succeed if it is sent again."""
    status = _status_of(str(problem))
    return status is None or status in _TRANSIENT_STATUSES


def _status_of(text: str) -> str | None:
    status = _STATUS.search(text)
    return status[1] if status else None
