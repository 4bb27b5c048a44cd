"""What the page's inspector of back-propagation works with: the parameters and some examples, as JSON values."""

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from model.recipes import TrainingConfig
from pipeline.preprocess.manifest import Manifest
from pipeline.report.example_selection import ShownExample
from pipeline.report.parameters import Layers

MOST_PARAMETERS = 1_500_000  # 8 MB of the page
_OF_THE_NETWORK = ("activation", "output", "loss", "weights_rate", "biases_rate", "weight_decay")


class InspectorData(NamedTuple):
    """The inspector, or why there is none.

    Attributes:
        data: JSON values; None if it is left out.
        left_out: the reason.
        notes: what its arithmetic does not show of this run's training.
    """

    data: dict[str, Any] | None
    left_out: str
    notes: tuple[str, ...]


def build_inspector(
    config: TrainingConfig, manifest: Manifest, layers: Layers, specimens: Sequence[ShownExample]
) -> InspectorData:
    """Put together what the inspector needs.

    Numbers are base64 of little-endian bytes: parameters float32, of each layer its weights [outputs, inputs] and then
    its biases; images uint8, one after the other.
    """
    num_parameters = sum(part.size for layer in layers for part in layer)
    if num_parameters > MOST_PARAMETERS:
        reason = f"The network has {num_parameters:,} parameters; a page carries {MOST_PARAMETERS:,} at most."
        return InspectorData(None, reason, ())
    parameters = b"".join(part.astype("<f4").tobytes() for layer in layers for part in layer)
    images = np.stack([specimen.image for specimen in specimens]).tobytes()
    data = {
        "layers": list(config.layers),
        "height": manifest.height,
        "width": manifest.width,
        "class_names": list(manifest.class_names),
        "parameters": base64.b64encode(parameters).decode(),
        "images": base64.b64encode(images).decode(),
        "specimens": [{"name": each.name, "label": each.label, "predicted": each.predicted} for each in specimens],
        "config": {name: getattr(config, name) for name in _OF_THE_NETWORK},
    }
    return InspectorData(data, "", tuple(_notes(config)))


def _notes(config: TrainingConfig) -> list[str]:
    notes = [
        f"The step is of one example, at the rates that training began with; training took {config.batch_size} "
        f"at a time."
    ]
    if config.dropout:
        notes.append(f"Training left out {config.dropout:g} of the hidden values at random (dropout); here none is.")
    if config.momentum:
        notes.append("Training kept some of each step for the next (momentum); a first step has none to keep.")
    if config.weight_decay:
        notes.append(f"The step shrinks the weights too, as training did (weight decay {config.weight_decay:g}).")
    return notes
