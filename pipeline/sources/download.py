"""Download the files of known data sets from their mirrors, and verify them."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import requests

from model.errors import BadInput
from pipeline.progress import download_progress, show_message, warn
from pipeline.sources.catalog import FILE_NAMES
from pipeline.storage.files import write_without_lock

TIMEOUT_SECONDS = 15
WAITS_SECONDS: tuple[float, ...] = (1, 4)  # before each retry of the same mirror


def download_file(dataset: str, mirrors: tuple[str, ...], place: Path, digest: str) -> Path:
    """Download a file from the first mirror that serves the bytes of that SHA-256; raises BadInput if none does."""
    failures = []
    for mirror in mirrors:
        try:
            _fetch_with_retries(mirror, place, digest)
            return place
        except requests.RequestException as error:
            tries = f" (tried {len(WAITS_SECONDS) + 1} times)" if _is_transient(error) else ""
            failures.append(f"  {mirror}{place.name}: {_first_line(error)}{tries}")
    raise BadInput(
        f"{dataset}: {place.name} could not be downloaded:\n" + "\n".join(failures) + f"\nPut {', '.join(FILE_NAMES)} "
        f"(each gzipped or not) into {place.parent}, or name their folder with --data-dir."
    )


def _fetch_with_retries(mirror: str, place: Path, digest: str) -> None:
    """Download a file from one mirror, each try from its beginning: not every mirror supports range requests."""
    for wait in WAITS_SECONDS:
        try:
            return _fetch(mirror, place, digest)
        except requests.RequestException as error:
            if not _is_transient(error):
                raise
            warn(f"{place.name}: {mirror} failed, trying again in {wait:g} s: {_first_line(error)}")
        time.sleep(wait)
    return _fetch(mirror, place, digest)


def _is_transient(error: requests.RequestException) -> bool:
    """Return whether a retry may succeed: the connection broke or timed out, or the server is overloaded."""
    if isinstance(error, requests.HTTPError):
        code = error.response.status_code
        return bool(code >= requests.codes.server_error or code == requests.codes.too_many_requests)
    transient = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, transient)


def _fetch(mirror: str, place: Path, digest: str) -> None:
    started = time.monotonic()
    headers = {"Accept-Encoding": "identity"}  # the digest is of the gzip file, not of its content
    with requests.get(f"{mirror}{place.name}", stream=True, timeout=TIMEOUT_SECONDS, headers=headers) as response:
        response.raise_for_status()
        write_without_lock(place, _read_verified(response, place.name, digest))
    seconds = time.monotonic() - started
    mebibytes = place.stat().st_size / 2**20
    rate = mebibytes / max(seconds, 1e-9)
    show_message(f"{place.name}: from {mirror}, {mebibytes:.1f} MiB in {seconds:.1f} s, {rate:.1f} MiB a second")


def _read_verified(response: requests.Response, name: str, expected: str) -> Iterator[bytes]:
    """Yield the bytes of a response and show a progress bar; raises at their end if their digest is wrong."""
    length = response.headers.get("Content-Length", "")
    digest = hashlib.sha256()
    with download_progress() as bar:
        task = bar.add_task(name, total=int(length) if length.isdecimal() else None)
        for chunk in response.iter_content(2**16):
            digest.update(chunk)
            bar.advance(task, len(chunk))
            yield chunk
    if digest.hexdigest() != expected:
        problem = f"the SHA-256 hash is {digest.hexdigest()}, expected {expected}"
        if length:
            raise requests.RequestException(problem)
        # The connection may have broken before the end of the file, so a retry may succeed.
        raise requests.ConnectionError(f"perhaps incomplete, its length is unknown: {problem}")


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
