"""The parameters at a few early steps of a run, from which the report's inspector trains on.

They are rounded to 16 bits, about three digits, as a page carries them. Their file has a tensor for each array, named
STEP.layers.LAYER.weights or .biases, and a record in its metadata. Imports no TensorFlow, which takes seconds.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from model.errors import CorruptArtefact
from model.recipes import TrainingConfig
from model.tensor_file import decode_about, decode_tensors, encode_tensors
from pipeline.storage.formats import VersionedRecord
from pipeline.storage.places import Place
from pipeline.storage.records import Count

EARLY_NAME = "early-parameters.safetensors"
EARLY_STEPS = (100, 1000)
MOST_EARLY_PARAMETERS = 187_500  # of a network: at both steps they take 1 MB of a page, in base64

Halves: TypeAlias = npt.NDArray[np.float16]


class HalfLayer(NamedTuple):
    """The parameters of a layer in 16 bits: weights float16[outputs, inputs] and biases float16[outputs]."""

    weights: Halves
    biases: Halves


EarlyParameters: TypeAlias = Mapping[int, tuple[HalfLayer, ...]]  # by the number of updates done


class EarlyRecord(VersionedRecord):
    """The metadata in a file of early parameters."""

    format_version: Literal[1] = 1
    run_id: str
    steps: tuple[Count, ...]


def choose_early_steps(config: TrainingConfig) -> tuple[int, ...]:
    """Return the steps whose parameters a run keeps: none of a large network, and none after its last step."""
    num_parameters = sum((inputs + 1) * outputs for inputs, outputs in pairwise(config.layers))
    if num_parameters > MOST_EARLY_PARAMETERS:
        return ()
    return tuple(step for step in EARLY_STEPS if step < config.num_steps)


def round_to_halves(parameters: Sequence[tuple[Any, Any]]) -> tuple[HalfLayer, ...] | None:
    """Round float32 weights and biases of each layer; None if one of them is beyond the range of float16, 65,504."""
    arrays = [[np.asarray(part) for part in layer] for layer in parameters]
    largest = np.finfo(np.float16).max
    if not all((np.abs(part) <= largest).all() for layer in arrays for part in layer):  # false for NaN too
        return None
    return tuple(HalfLayer(*(part.astype(np.float16) for part in layer)) for layer in arrays)


def encode_early(early: EarlyParameters, run_id: str) -> bytes:
    """Return the file; the same parameters give the same bytes."""
    record = EarlyRecord(run_id=run_id, steps=tuple(sorted(early)))
    return encode_tensors(name_early(early), record.to_json().decode())


def decode_early(data: bytes, path: Place, config: TrainingConfig) -> EarlyParameters:
    """Read back what `encode_early` wrote for a run of that configuration.

    Raises CorruptArtefact if it is no such file or of another network, UnknownFormat if its format is a later one.
    """
    record = EarlyRecord.from_json(decode_about(data, str(path)).encode(), path)
    return take_early(decode_tensors(data, str(path)), record.steps, config, str(path))


def name_early(early: EarlyParameters) -> dict[str, Halves]:
    """Return the tensors of early parameters by name."""
    return {
        f"{step}.layers.{number}.{name}": part
        for step, layers in early.items()
        for number, layer in enumerate(layers)
        for name, part in layer._asdict().items()
    }


def take_early(
    tensors: Mapping[str, npt.NDArray[Any]], steps: Sequence[int], config: TrainingConfig, name: str
) -> EarlyParameters:
    """Return the early parameters of a network among tensors that `name_early` named; name is that of their file.

    Raises CorruptArtefact if a tensor is missing or has another shape or type.
    """

    def take(key: str, *shape: int) -> Halves:
        found = tensors.get(key)
        if found is None or found.shape != shape or found.dtype != np.float16:
            raise CorruptArtefact(f"{name} does not hold {key} as this run has it")
        return found

    sizes = list(enumerate(pairwise(config.layers)))
    return {
        step: tuple(
            HalfLayer(
                take(f"{step}.layers.{number}.weights", outputs, inputs),
                take(f"{step}.layers.{number}.biases", outputs),
            )
            for number, (inputs, outputs) in sizes
        )
        for step in steps
    }
