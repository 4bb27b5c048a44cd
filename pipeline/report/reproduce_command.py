"""Build the command that reproduces a run, from the origin of its data set and the configuration in its record."""

import json
import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple

from model.recipes import TrainingConfig
from pipeline.evaluate.evaluated_runs import EvaluatedRun
from pipeline.evaluate.slices import SLICINGS
from pipeline.preprocess.provenance import Origin, load_origin, options_given, origin_path
from pipeline.train.run_record import RunRecord

CONFIG_FILE = "run.toml"


class ReproduceCommand(NamedTuple):
    """How to reproduce a run."""

    command: str  # a shell command, which reads CONFIG_FILE
    settings: str  # the text of CONFIG_FILE
    needs: tuple[str, ...]  # phrases that name what else must be available or equal


def describe_reproduction(evaluated: EvaluatedRun) -> ReproduceCommand:
    """Return how to reproduce a run; raises CorruptArtefact if the origin of its data set does not verify."""
    has_origin = origin_path(evaluated.workspace, evaluated.run.dataset_id).exists()
    origin = load_origin(evaluated.workspace, evaluated.run.dataset_id) if has_origin else None
    data = options_given(origin) if origin else ["--dataset", "SOURCE"]
    slicings = sorted(evaluated.evaluation.slicings.items())
    # the built-in ones are always there
    slices = [word for name, place in slicings if name not in SLICINGS for word in ("--slice", f"{name}={place}")]
    command = shlex.join(["backbeam", "run", *data, "--config", CONFIG_FILE, *slices])
    return ReproduceCommand(command, format_config(evaluated.run.config), tuple(_needs(evaluated.run, origin)))


def format_config(config: TrainingConfig) -> str:
    """Return a configuration as the text of a configuration file (TOML)."""
    values = {name: value for name, value in config if value is not None and name != "warm_start"}
    if config.num_epochs is not None:
        del values["num_steps"]  # 0
    warm_start = _table("training.warm_start", config.warm_start.model_dump()) if config.warm_start else []
    return "\n".join([*_table("training", values), *warm_start])


def _table(name: str, values: dict[str, Any]) -> list[str]:
    return [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]


def _needs(run: RunRecord, origin: Origin | None) -> Iterator[str]:
    if origin:
        yield "the sources where they were, with the digests below"
        if origin.class_names:
            listed = ", ".join(origin.class_names)
            yield f"a source with the classes {listed}, in this order, named first: this source was joined with it"
    else:
        yield f"SOURCE and its options: origins/{run.dataset_id}.json, which says where the data came from, is missing"
    if run.config.warm_start:
        yield f"the run {run.config.warm_start.run_id} in the same workspace: training begins with its parameters"
    names = {"backbeam": "backbeam", "tensorflow": "TensorFlow"}
    versions = " and ".join(f"{shown} {run.versions[name]}" for name, shown in names.items() if name in run.versions)
    yield f"{versions} on {run.device}: other versions give the run another id, another processor may round differently"
