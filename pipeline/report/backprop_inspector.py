"""Data of the report's back-propagation inspector: the parameters and some examples of a run, as JSON values."""

import base64
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from model.inference import StoredLayer
from model.random_streams import Purpose, stream_key
from model.recipes import TrainingConfig
from pipeline.evaluate.evaluated_runs import EvaluatedRun
from pipeline.preprocess.manifest import Manifest
from pipeline.report.dataset_inspection import NamedExample
from pipeline.report.example_selection import ShownExample
from pipeline.train.early_parameters import EarlyParameters, decode_early
from pipeline.train.run_lookup import read_network

MAX_PARAMETERS = 1_500_000  # 8 MB of the page, in base64
_CONFIG_FIELDS = (
    *("activation", "output", "loss", "weights_rate", "biases_rate", "weight_decay"),
    *("batch_size", "step"),
)


class InspectedExamples(NamedTuple):
    """The test examples of the inspector."""

    shown: Sequence[ShownExample]
    sampled: frozenset[str]  # names of those that were not selected by their answers, so that an accuracy is fair


class LearnedParameters(NamedTuple):
    """The parameters of a run that the page carries."""

    trained: Sequence[StoredLayer]
    early: EarlyParameters


def read_learned(evaluated: EvaluatedRun) -> LearnedParameters:
    """Read the parameters of a run, verified; raises CorruptArtefact."""
    run = evaluated.run
    file = run.early_parameters
    early = decode_early(file.read(evaluated.folder), evaluated.folder / file.name, run.config) if file else {}
    return LearnedParameters(read_network(evaluated.folder, run.parameters, run.config).layers, early)


def build_inspector(
    config: TrainingConfig,
    manifest: Manifest,
    learned: LearnedParameters,
    train: Sequence[NamedExample],
    test: InspectedExamples,
) -> dict[str, Any]:
    """Return the `data` of the inspector or why they are `left_out`, and `notes` on how its step differs from training.

    Arrays are base64 of little-endian bytes: `parameters` float32, for each layer its weights [outputs, inputs] and
    then its biases; those of `points`, of early steps, float16; `images` uint8[examples, height, width], the train
    examples first.
    """
    num_parameters = sum(array.size for layer in learned.trained for array in layer)
    if num_parameters > MAX_PARAMETERS:
        reason = f"The network has {num_parameters:,} parameters; a page carries {MAX_PARAMETERS:,} at most."
        return {"data": None, "left_out": reason, "notes": []}
    images = [example.image for example in train] + [example.image for example in test.shown]
    data = {
        "layers": list(config.layers),
        "height": manifest.height,
        "width": manifest.width,
        "style": manifest.style.model_dump(include={"background", "darkest", "brightest", "resize"}),
        "class_names": list(manifest.class_names),
        "parameters": _encode(learned.trained, "<f4"),
        "points": [
            {"step": step, "parameters": _encode(early, "<f2")} for step, early in sorted(learned.early.items())
        ],
        "start": None if config.warm_start else describe_start(config),
        "images": base64.b64encode(b"".join(image.tobytes() for image in images)).decode(),
        "train": [{"name": f"{each.split}:{each.index}", "label": each.label} for each in train],
        "test": [
            {"name": each.name, "label": each.label, "predicted": each.predicted, "sampled": each.name in test.sampled}
            for each in test.shown
        ],
        "config": {name: getattr(config, name) for name in _CONFIG_FIELDS},
    }
    return {"data": data, "left_out": "", "notes": list(_notes(config, learned.early))}


def _encode(layers: Iterable[tuple[Any, Any]], dtype: str) -> str:
    """Return the weights and biases of layers in base64."""
    return base64.b64encode(b"".join(array.astype(dtype).tobytes() for layer in layers for array in layer)).decode()


def describe_start(config: TrainingConfig) -> dict[str, Any]:
    """Return what `start.js` draws the starting parameters from, so that the page need not carry them.

    The keys are those of `model.network.initialise`, as two unsigned 32-bit halves, the low one first.
    """
    purposes = (Purpose.STARTING_WEIGHTS, Purpose.STARTING_BIASES)
    keys = [
        [_halves(stream_key(purpose, config.seed, layer)) for purpose in purposes]
        for layer in range(len(config.layers) - 1)
    ]
    return {"name": config.start, "keys": keys}


def _halves(key: int) -> list[int]:
    return [key & 0xFFFFFFFF, key >> 32]


def _notes(config: TrainingConfig, early: EarlyParameters) -> Iterator[str]:
    size = config.batch_size
    yield f"The stages are of one example; the run took {size:,} at a time, of all train examples."
    if config.dropout:
        yield f"The run left out {config.dropout:g} of the hidden values at random (dropout); here none is."
    if config.momentum:
        yield "The run kept some of each step for the next (momentum); the steps here do not."
    if config.schedule != "constant":
        yield f"The rates of the run followed a schedule ({config.schedule}); here they stay where the sliders are."
    if early:
        steps = " and ".join(f"{step:,}" for step in sorted(early))
        yield f"The parameters of the run's steps {steps} are rounded to about three digits."
    if config.weight_decay:
        yield f"A step shrinks the weights too, as in the run (weight decay {config.weight_decay:g})."
