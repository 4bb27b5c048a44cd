"""The command that makes a run again: its data set as `origins/` records it, its configuration as its record has it."""

import json
import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple

from model.recipes import TrainingConfig
from pipeline.evaluate.results import EvaluatedRun
from pipeline.evaluate.slices import SLICINGS
from pipeline.preprocess.provenance import Origin, options_given
from pipeline.train.run_record import RunRecord

CONFIG_FILE = "run.toml"


class ReproduceCommand(NamedTuple):
    """How to make a run again.

    Attributes:
        command: a line for a shell.
        settings: the text of CONFIG_FILE, which the command names.
        needs: what a reader must have or know besides.
    """

    command: str
    settings: str
    needs: tuple[str, ...]


def describe_reproduction(found: EvaluatedRun) -> ReproduceCommand:
    """Return how to make a run again; raises CorruptArtefact if the record of its data set's origin is not sound."""
    origin = found.origin()
    data = options_given(origin) if origin else ["--dataset", "SOURCE"]
    own = [f"{name}={place}" for name, place in sorted(found.evaluation.slicings.items()) if name not in SLICINGS]
    slices = [word for slicing in own for word in ("--slice", slicing)]
    command = ["backbeam", "run", *data, "--config", CONFIG_FILE, *slices]
    return ReproduceCommand(shlex.join(command), settings_of(found.run.config), tuple(_needs(found.run, origin)))


def settings_of(config: TrainingConfig) -> str:
    """Return a configuration as the text of a configuration file."""
    values = config.model_dump(mode="json", exclude_none=True)
    warm_start = values.pop("warm_start", {})
    return "\n".join([*_table("training", values), *(_table("training.warm_start", warm_start) if warm_start else [])])


def _table(name: str, values: dict[str, Any]) -> list[str]:
    return [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]


def _needs(run: RunRecord, origin: Origin | None) -> Iterator[str]:
    if origin:
        yield "the sources where they were, with the digests below"
    else:
        yield f"SOURCE and its options: origins/{run.dataset_id}.json, which says where the data came from, is missing"
    if run.config.warm_start:
        yield f"the run {run.config.warm_start.run_id} in the same workspace: training begins with its parameters"
    names = {"backbeam": "backbeam", "tensorflow": "TensorFlow"}
    wanted = " and ".join(f"{shown} {run.versions[name]}" for name, shown in names.items() if name in run.versions)
    yield f"{wanted} on {run.device}: other versions give the run another id, another processor may round otherwise"
