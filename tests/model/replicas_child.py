"""Trains on several logical CPUs, which must be configured before the first TensorFlow operation of a process.

The argument is JSON: settings. Prints JSON: the digests of the states that a strategy and one device end with.
"""

import json
import sys

from model.replicas import compile_in_turn, start_engine
from tests.model.test_replicas import config, digest, train_chunks


def main() -> None:
    settings = config(**json.loads(sys.argv[1]))
    engine = start_engine(settings, "cpu", None, "run")
    assert engine.device == ", ".join(f"CPU:{i}" for i in range(settings.num_replicas))
    ends = [digest(train_chunks(settings, run)) for run in (engine.run_chunk, compile_in_turn(settings))]
    print(json.dumps(ends))  # noqa: T201


if __name__ == "__main__":
    main()
