"""Data of the report's back-propagation inspector: the parameters and some examples of a run, as JSON values."""

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from model.recipes import TrainingConfig
from pipeline.evaluate.hidden_units import Layers
from pipeline.preprocess.manifest import Manifest
from pipeline.report.example_selection import ShownExample

MAX_PARAMETERS = 1_500_000  # 8 MB of the page, in base64
_CONFIG_FIELDS = ("activation", "output", "loss", "weights_rate", "biases_rate", "weight_decay")


def build_inspector(
    config: TrainingConfig, manifest: Manifest, layers: Layers, examples: Sequence[ShownExample]
) -> dict[str, Any]:
    """Return the `data` of the inspector or why they are `left_out`, and `notes` on how its step differs from training.

    Arrays are base64 of little-endian bytes: `parameters` float32, for each layer its weights [outputs, inputs] and
    then its biases; `images` uint8[examples, height, width].
    """
    num_parameters = sum(array.size for layer in layers for array in layer)
    if num_parameters > MAX_PARAMETERS:
        reason = f"The network has {num_parameters:,} parameters; a page carries {MAX_PARAMETERS:,} at most."
        return {"data": None, "left_out": reason, "notes": []}
    parameters = b"".join(array.astype("<f4").tobytes() for layer in layers for array in layer)
    images = np.stack([example.image for example in examples]).tobytes()
    data = {
        "layers": list(config.layers),
        "height": manifest.height,
        "width": manifest.width,
        "style": manifest.style.model_dump(include={"background", "darkest", "brightest", "resize"}),
        "class_names": list(manifest.class_names),
        "parameters": base64.b64encode(parameters).decode(),
        "images": base64.b64encode(images).decode(),
        "specimens": [
            {"name": example.name, "label": example.label, "predicted": example.predicted} for example in examples
        ],
        "config": {name: getattr(config, name) for name in _CONFIG_FIELDS},
    }
    return {"data": data, "left_out": "", "notes": list(_notes(config))}


def _notes(config: TrainingConfig) -> Iterator[str]:
    size = config.batch_size
    yield f"The step is of one example, at the rates that training began with; training took {size} at a time."
    if config.dropout:
        yield f"Training left out {config.dropout:g} of the hidden values at random (dropout); here none is."
    if config.momentum:
        yield "Training kept some of each step for the next (momentum); a first step has none to keep."
    if config.weight_decay:
        yield f"The step shrinks the weights too, as training did (weight decay {config.weight_decay:g})."
