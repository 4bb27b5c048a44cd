"""The result of a Beam job for its driver: a worker writes it to the job's scratch folder, and the driver reads it."""

import json
from typing import Any

from model.errors import EngineFailed
from pipeline.storage.files import write_atomically
from pipeline.storage.places import Place

_NAME = "result.json"


def write_result(scratch: Place, result: Any) -> None:
    """Write the result of a job, a value that JSON has; a repeated call replaces it."""
    write_atomically(scratch / _NAME, json.dumps(result).encode())


def read_result(scratch: Place) -> Any:
    """Return the result of a job; raises EngineFailed if there is none."""
    path = scratch / _NAME
    if not path.exists():
        raise EngineFailed(f"the engine reports success but wrote no {path}")
    return json.loads(path.read_bytes())
