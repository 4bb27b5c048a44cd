"""Run moto's server as an object store that keeps the promises of conditional writes: `amazon` or `google`, options.

moto looks whether an object is there and then puts it, in as many threads as there are requests; here one write is
over before the next begins. Google's XML API is S3's language but for its conditions: an object has a generation, which
every answer tells, and a put may expect one. Here that is as its documentation describes it.
"""

import itertools
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, unquote

from moto.s3.responses import S3Response
from moto.server import create_backend_app, main
from werkzeug.serving import run_simple
from werkzeug.test import Client

REFUSED = b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>Refused</Code></Error>"
SIGNED = "AWS4-HMAC-SHA256 Credential=an-identity/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


def take_turns() -> None:
    one_at_a_time = threading.RLock()

    def in_turn(handle: Any) -> Any:
        def handled(*arguments: Any, **named: Any) -> Any:
            with one_at_a_time:
                return handle(*arguments, **named)

        return handled

    for name in ("_key_response_put", "_key_response_post"):
        setattr(S3Response, name, in_turn(getattr(S3Response, name)))


def translate(environ: dict[str, Any]) -> None:
    """Make a request to Google's API one that moto takes for S3's."""
    environ["HTTP_AUTHORIZATION"] = SIGNED  # a token of Google's says nothing to moto
    for raw in ("RAW_URI", "REQUEST_URI"):  # moto does not see that %2D in a bucket's name is a hyphen
        before, mark, query = environ.get(raw, environ["PATH_INFO"]).partition("?")
        environ[raw] = quote(unquote(before), safe="/-_.~") + mark + query


class Generations:
    """moto's S3 with Google's generations in place of S3's conditions."""

    def __init__(self, app: Any, bucket: str) -> None:
        self._app = app
        self._bucket = bucket
        self._by_path: dict[str, int] = {}
        self._numbers = itertools.count(1700000000000001)
        self._one_at_a_time = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        translate(environ)
        with self._one_at_a_time:
            if refusal := self._refusal(environ, path):
                start_response(refusal, [("Content-Length", str(len(REFUSED)))])
                return [REFUSED]

            def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
                if status.startswith("2") and self._is_put(environ):
                    self._by_path[path] = next(self._numbers)
                if path in self._by_path:
                    headers = [*headers, ("x-goog-generation", str(self._by_path[path]))]
                if self._is_deletion(environ):
                    self._by_path.pop(path, None)
                return start_response(status, headers, *more)

            return list(self._app(environ, start))

    def _refusal(self, environ: dict[str, Any], path: str) -> str:
        expected = environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None)
        if expected is not None and int(expected) != self._by_path.get(path, 0):
            return "412 Precondition Failed"
        is_missing = self._is_deletion(environ) and path.startswith(f"/{self._bucket}/") and path not in self._by_path
        return "404 Not Found" if is_missing else ""  # moto would say that it deleted it

    @staticmethod
    def _is_deletion(environ: dict[str, Any]) -> bool:
        return environ["REQUEST_METHOD"] == "DELETE" and "uploadId" not in environ["QUERY_STRING"]

    @staticmethod
    def _is_put(environ: dict[str, Any]) -> bool:
        method, query = environ["REQUEST_METHOD"], environ["QUERY_STRING"]
        return (method == "PUT" and "uploadId" not in query) or (method == "POST" and "uploadId" in query)


def run_google(host: str, port: str, bucket: str) -> None:
    app = Generations(create_backend_app("s3"), bucket)
    made = Client(app).put(f"/{bucket}")
    assert made.status_code == 200, made.get_data()
    run_simple(host, int(port), app, threaded=True)


if __name__ == "__main__":
    kind = sys.argv.pop(1)
    take_turns()
    main() if kind == "amazon" else run_google(*sys.argv[1:])
