"""Run an emulator of an object store that keeps the promises of conditional writes: `amazon` or `google`, its options.

moto looks whether an object is there and then puts it, in as many threads as there are requests; here one put is over
before the next begins. gcp-storage-emulator does one request after the other, but ignores `ifGenerationMatch`; here it
honours it, as the documentation of the JSON API describes.
"""

import sys
import threading
from http import HTTPStatus
from typing import Any


class PreconditionFailed(Exception):
    """An object is not of the generation that a request expects."""


def run_amazon() -> None:
    """Run moto's server; puts wait for each other."""
    from moto.s3.responses import S3Response
    from moto.server import main

    one_at_a_time = threading.RLock()

    def in_turn(handle: Any) -> Any:
        def handled(*arguments: Any, **named: Any) -> Any:
            with one_at_a_time:
                return handle(*arguments, **named)

        return handled

    for name in ("_key_response_put", "_key_response_post"):
        setattr(S3Response, name, in_turn(getattr(S3Response, name)))
    main()


def run_google() -> None:
    """Run gcp-storage-emulator; what a request says of an object's generation is compared before it is put."""
    from gcp_storage_emulator.__main__ import main
    from gcp_storage_emulator.server import Request, Response, Router
    from gcp_storage_emulator.storage import Storage

    expected: list[str] = []  # by the request that is being handled
    handle, create_file = Router.handle, Storage.create_file

    def handle_with_condition(router: Any, method: str) -> None:
        expected[:] = Request(router._request_handler, method).query.get("ifGenerationMatch", [])
        try:
            handle(router, method)
        except PreconditionFailed:
            response = Response(router._request_handler)
            response.status = HTTPStatus.PRECONDITION_FAILED
            response.json({"error": {"code": 412, "message": "conditionNotMet"}})
            response.close()

    def create_if_expected(storage: Any, bucket: str, name: str, *content: Any) -> None:
        found = storage.objects.get(bucket, {}).get(name, {}).get("generation", "0")
        if expected and expected != [str(found)]:
            raise PreconditionFailed(name)
        create_file(storage, bucket, name, *content)

    Router.handle, Storage.create_file = handle_with_condition, create_if_expected
    main(sys.argv[1:])


if __name__ == "__main__":
    {"amazon": run_amazon, "google": run_google}[sys.argv.pop(1)]()
