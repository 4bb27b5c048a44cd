"""The command that makes a run again, worked out from its records. Pure."""

import json
import shlex
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from model.recipes import RECIPES, TrainingConfig, fit_to_data
from pipeline.manifest import Manifest
from pipeline.runs import EvaluationRecord, RunRecord
from pipeline.shards import default_num_shards
from pipeline.sources.known import FILE_NAMES, KNOWN
from pipeline.tables.slices import SLICINGS

CONFIG_FILE = "run.toml"


class Reproduction(NamedTuple):
    """How to make a run again.

    Attributes:
        command: a line for a shell.
        settings: the text of CONFIG_FILE, which the command names; empty if it needs none.
        needs: what a reader must have or know besides.
    """

    command: str
    settings: str
    needs: tuple[str, ...]


def reproduce(
    run: RunRecord, evaluation: EvaluationRecord, manifest: Manifest, parts: Sequence[Manifest]
) -> Reproduction:
    """Work out how to make a run again.

    Args:
        run: its record.
        evaluation: of the run.
        manifest: of its data set.
        parts: the manifests of the parts of a joint data set; that of the data set itself otherwise.
    """
    settings = _settings(run.config, manifest)
    config = ["--config", CONFIG_FILE] if settings else []
    chosen = ["--recipe", run.config.recipe, "--seed", str(run.config.seed)]
    own = [f"{name}={place}" for name, place in sorted(evaluation.slicings.items()) if name not in SLICINGS]
    slices = [word for slicing in own for word in ("--slice", slicing)]
    command = ["backbeam", "run", *_dataset_options(manifest, parts), *chosen, *config, *slices]
    needs = (*_needed_sources(parts), *_needed_start(run.config), _needed_versions(run))
    return Reproduction(shlex.join(command), settings, needs)


def _settings(config: TrainingConfig, manifest: Manifest) -> str:
    """Return, as TOML, the settings that are not the recipe's own; the recipe and the seed are options."""
    if config.recipe not in RECIPES:  # of another version of backbeam, which `needs` names
        return ""
    own = RECIPES[config.recipe].config
    fitted = fit_to_data(own, manifest.num_pixels, len(manifest.class_names), manifest.splits["train"].num_examples)
    usual = fitted.model_dump(mode="json") | {"recipe": config.recipe, "seed": config.seed}
    changed = {name: value for name, value in config.model_dump(mode="json").items() if value != usual.get(name)}
    warm_start = changed.pop("warm_start", {})
    tables = {"training": changed, "training.warm_start": warm_start}
    return "\n".join(chain.from_iterable(_table(name, values) for name, values in tables.items() if values))


def _table(name: str, values: dict[str, Any]) -> list[str]:
    return [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]


def _dataset_options(manifest: Manifest, parts: Sequence[Manifest]) -> list[str]:
    options = [
        word for part in parts for word in ("--dataset", part.name if _is_known(part) else f"FOLDER/{part.name}")
    ]
    unusual = {part.config.num_shards for part in parts if part.config.num_shards != _usual_num_shards(part)}
    if len(unusual) == 1:
        options += ["--num-shards", str(unusual.pop())]
    if manifest.config.seed != 1:
        options += ["--shuffle-seed", str(manifest.config.seed)]
    if not all(map(_is_known, parts)) and manifest.class_names == tuple(map(str, range(len(manifest.class_names)))):
        options += ["--num-classes", str(len(manifest.class_names))] if any(map(_is_idx, parts)) else []
    if manifest.num_rejected:
        options += ["--max-rejected", str(manifest.num_rejected)]
    return options


def _usual_num_shards(part: Manifest) -> int:
    return default_num_shards(part.splits["train"].num_examples, part.num_pixels)


def _is_idx(part: Manifest) -> bool:
    return tuple(source.name for source in part.sources) == FILE_NAMES


def _is_known(part: Manifest) -> bool:
    """Tell whether a data set can be asked for by name: it is called so, and has that content."""
    known = KNOWN.get(part.name)
    if known is None or known.class_names != part.class_names:
        return False
    return not known.content_digests or known.content_digests == tuple(source.sha256 for source in part.sources)


def _needed_sources(parts: Sequence[Manifest]) -> tuple[str, ...]:
    return tuple(
        f"FOLDER/{part.name} stands for the source of {part.dataset_id}, whose content has the digests below"
        + ("" if _is_idx(part) else "; with --image-column, --label-column or --image-size, if they were given then")
        for part in parts
        if not _is_known(part)
    )


def _needed_start(config: TrainingConfig) -> tuple[str, ...]:
    start = config.warm_start
    return (f"the run {start.run_id} in the same workspace: training begins with its parameters",) if start else ()


def _needed_versions(run: RunRecord) -> str:
    names = {"backbeam": "backbeam", "tensorflow": "TensorFlow"}
    wanted = " and ".join(f"{shown} {run.versions[name]}" for name, shown in names.items() if name in run.versions)
    return f"{wanted} on {run.device}: other versions give the run another id, another processor may round otherwise"
