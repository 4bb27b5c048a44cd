"""Find complete runs in a workspace, with the data set that each was trained on."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model.errors import BadUsage, CorruptArtefact
from model.recipes import TrainingConfig
from pipeline.context import quiet_imports
from pipeline.preprocess.dataset import Dataset, check_dataset, load_dataset
from pipeline.preprocess.manifest import MANIFEST_NAME, Manifest
from pipeline.storage.files import list_folders_with
from pipeline.storage.places import Place
from pipeline.storage.records import FileInfo
from pipeline.storage.workspace import MOST_LISTED, explain_match, match_ids
from pipeline.train.run_names import find_named
from pipeline.train.run_record import RUN_NAME, RunRecord, check_run, load_run
from pipeline.train.run_settings import IN_THE_ID, changed_from_recipe, find_differences, format_settings

if TYPE_CHECKING:
    from model.inference import Inference
    from model.network import Parameters  # imports TensorFlow


@dataclass(frozen=True)
class TrainedModel:
    """A complete run and the manifest of its data set, which is enough to use the network without the shards."""

    folder: Place
    run: RunRecord
    manifest: Manifest


def find_run(
    workspace: Place, name: str | None, load: Callable[[Place], Dataset] = check_dataset
) -> tuple[RunRecord, Dataset]:
    """Find a complete run and its data set, and check the files of both; load checks those of the data set.

    Raises BadUsage as `find_run_folder`, CorruptArtefact as `check_run` and `load_dataset_of`.
    """
    run = check_run(workspace, find_run_folder(workspace, name))
    return run, load_dataset_of(workspace, run, load)


def find_model(workspace: Place, name: str | None) -> TrainedModel:
    """Find a complete run and load its record and its data set's manifest, but no shard and no parameters.

    Raises BadUsage as `find_run_folder`, CorruptArtefact as `load_run` and `load_dataset_of`.
    """
    folder = find_run_folder(workspace, name)
    run = load_run(folder)
    return TrainedModel(folder, run, load_dataset_of(workspace, run, load_dataset).manifest)


def load_parameters(model: TrainedModel) -> "Parameters":
    """Read and verify the parameters of a run, as float32 tensors; imports TensorFlow. Raises CorruptArtefact."""
    network = load_network(model)
    with quiet_imports():
        from model.network import load_layers
    return load_layers(network.layers)


def load_network(model: TrainedModel) -> "Inference":
    """Read and verify the network of a run; raises CorruptArtefact."""
    return read_network(model.folder, model.run.parameters, model.run.config)


def read_network(folder: Place, file: FileInfo, config: TrainingConfig) -> "Inference":
    """Read and verify the network that a file of a run's folder has; raises CorruptArtefact."""
    from model.checkpoint import decode_parameters  # which import NumPy
    from model.inference import build_inference

    layers = decode_parameters(file.read(folder), str(folder / file.name), config.layers)
    return build_inference(layers, config.activation, config.output, config.loss)


def load_dataset_of(workspace: Place, run: RunRecord, load: Callable[[Place], Dataset]) -> Dataset:
    """Load the data set that a run was trained on.

    `load` is `check_dataset` to check the shards too, `load_dataset` if they are not read or are checked when read.
    Raises CorruptArtefact if the data set is missing, corrupt, or not the one the run was trained on.
    """
    folder = workspace / "datasets" / run.dataset_id
    if not (folder / MANIFEST_NAME).exists():
        raise CorruptArtefact(f"{folder}, the data set of {run.run_id}, is missing", hint="preprocess it again")
    data = load(folder)
    if data.digest != run.dataset_digest:
        raise CorruptArtefact(f"{folder} is not what {run.run_id} was trained on: expected {run.dataset_digest}")
    sizes = (run.config.layers[0], run.config.layers[-1])
    expected = (data.manifest.num_pixels, len(data.manifest.class_names))
    if sizes != expected:
        raise CorruptArtefact(f"{run.run_id} has {sizes} inputs and outputs, and {folder} needs {expected}")
    return data


def find_run_folder(workspace: Place, name: str | None) -> Place:
    """Find the folder of a complete run by its id, its name or a beginning of its id (None: the only one).

    Raises BadUsage, with the names and settings in which the candidates differ, if none matches or several do;
    CorruptArtefact if no id matches and the name cannot be looked for in a corrupt record.
    """
    parent = workspace / "runs"
    ids = [folder.name for folder in list_folders_with(parent, RUN_NAME)]
    matching = match_ids(ids, name)
    if name and not matching:  # ids come first: of those, no record is read
        matching = find_named(workspace, name)
    if len(matching) == 1:
        return parent / matching[0]
    listed = matching or ids
    candidates = describe_candidates(workspace, listed[:MOST_LISTED]) + listed[MOST_LISTED:]
    raise BadUsage(explain_match(parent, name, "run", bool(matching), candidates))


def describe_candidates(workspace: Place, ids: Sequence[str]) -> list[str]:
    """Return a line about each run: its id, its name and the settings in which the runs differ.

    Runs of equal settings differ in their data sets, or in the versions that trained them and when. Of runs of several
    recipes, nearly all settings differ, so those that differ from each run's recipe are given. Records that cannot be
    read are left out of the comparison.
    """
    runs: dict[str, RunRecord] = {}
    for run_id in ids:
        with suppress(CorruptArtefact):
            runs[run_id] = load_run(workspace / "runs" / run_id)
    facts = {run_id: _describe(run) for run_id, run in runs.items()}
    shown = {*find_differences(list(facts.values()))}
    if "recipe" in shown:
        facts = {run_id: _describe_changes(workspace, run) for run_id, run in runs.items()}
    if shown - {"finished", "name"}:
        shown.discard("finished")  # of use only if nothing else tells the runs apart
    lines = []
    for run_id in ids:
        known = {name: value for name, value in facts.get(run_id, {}).items() if name in shown and value is not None}
        lines.append(f"{run_id}  {format_settings(known, ())}".rstrip())
    return lines


def _describe(run: RunRecord) -> dict[str, Any]:
    about = {"name": run.name, "dataset": run.dataset_id, "finished": run.finished}
    return about | run.config.model_dump(mode="json")


def _describe_changes(workspace: Place, run: RunRecord) -> dict[str, Any]:
    """Return what distinguishes a run besides the recipe, the step and the seed, which its id names."""
    changed = changed_settings(workspace, run)
    settings = {name: value for name, value in changed.items() if name not in IN_THE_ID}
    return {"name": run.name, "dataset": run.dataset_id} | settings


def count_train_examples(workspace: Place, run: RunRecord) -> int | None:
    """Return the number of examples of the train split of a run's data set; None if its manifest cannot be read."""
    try:
        return load_dataset_of(workspace, run, load_dataset).manifest.splits["train"].num_examples
    except CorruptArtefact:
        return None


def changed_settings(workspace: Place, run: RunRecord) -> dict[str, Any]:
    """Return the settings of a run that differ from its recipe, as `changed_from_recipe`."""
    return changed_from_recipe(run.config, count_train_examples(workspace, run))
