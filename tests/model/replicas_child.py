"""Trains on several logical CPUs, which must be configured before the first TensorFlow operation of a process.

The argument is JSON: settings. Prints JSON: the digests of the states that a strategy, one device, and a strategy that
resumes from a checkpoint before each chunk end with.
"""

import json
import sys

import numpy as np

from model.checkpoint import name_parts, restore
from model.replicas import compile_in_turn, start_engine
from model.tensor_file import decode_tensors, encode_tensors
from model.training import State, start_state
from tests.model.test_replicas import config, digest, train_chunks


def main() -> None:
    settings = config(**json.loads(sys.argv[1]))
    engine = start_engine(settings, "cpu", None, "run")
    assert engine.device == ", ".join(f"CPU:{i}" for i in range(settings.num_replicas))
    ends = [digest(train_chunks(settings, run)) for run in (engine.run_chunk, compile_in_turn(settings))]

    def pass_through_checkpoint(state: State) -> State:
        tensors = {name: np.asarray(part) for name, part in name_parts(state).items()}
        return restore(start_state(settings), decode_tensors(encode_tensors(tensors, "{}"), "checkpoint"), "checkpoint")

    ends.append(digest(train_chunks(settings, engine.run_chunk, pass_through_checkpoint)))
    print(json.dumps(ends))  # noqa: T201


if __name__ == "__main__":
    main()
