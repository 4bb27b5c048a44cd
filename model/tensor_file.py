"""Arrays by name, with a text about them, <-> the bytes of a safetensors file. Nothing is ever unpickled.

Imports no TensorFlow, which takes seconds.
"""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
from safetensors.numpy import load, save

from model.errors import CorruptArtefact

_ABOUT = "backbeam"  # the only metadata entry: the library writes several in arbitrary order


def encode_tensors(tensors: dict[str, npt.NDArray[Any]], about: str) -> bytes:
    """Serialize arrays by name, with a text in the file's metadata; the same ones give the same bytes."""
    return save({name: np.asarray(value, order="C") for name, value in tensors.items()}, {_ABOUT: about})


def decode_tensors(data: bytes, name: str) -> dict[str, npt.NDArray[Any]]:
    """Read back the arrays that `encode_tensors` wrote; raises CorruptArtefact if it is no safetensors file."""
    try:
        return load(data)
    except safetensors.SafetensorError as problem:
        raise CorruptArtefact(f"{name} is not a safetensors file: {problem}") from None
    except (KeyError, ValueError, TypeError) as problem:  # valid, but with a dtype or shape that NumPy lacks
        raise CorruptArtefact(f"{name} holds a tensor that NumPy cannot represent: {problem!r}") from None


def decode_about(data: bytes, name: str) -> str:
    """Read back the text that `encode_tensors` wrote; raises CorruptArtefact if there is none."""
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])  # the format: length, header, tensors
        about = str(header["__metadata__"][_ABOUT])
        about.encode()  # raises for an unpaired surrogate
        return about
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CorruptArtefact(f"{name} lacks the metadata {_ABOUT!r}") from None
