"""Run stages again from their records, in a scratch workspace, to replace damaged files or to compare."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from model.errors import BadInput, BadUsage
from model.inference import StoredLayer
from pipeline.context import StageContext, StageLog
from pipeline.evaluate.evaluation_record import EvaluationRecord
from pipeline.evaluate.slice_config import Slicings, describe_slicings, order_slicings
from pipeline.evaluate.stage import evaluate_stage
from pipeline.preprocess.dataset import Dataset, load_dataset
from pipeline.preprocess.manifest import Manifest
from pipeline.preprocess.provenance import Origin, load_origin
from pipeline.preprocess.stage import config_from_origin, preprocess_stage
from pipeline.sources import scan_tasks
from pipeline.sources.catalog import KNOWN, split_file_names
from pipeline.sources.idx_files import splits_off_prefix
from pipeline.sources.split_files import is_pattern
from pipeline.storage.files import read_with_digest, write_atomically
from pipeline.storage.places import Place, is_remote
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.run_record import PARAMETERS_NAME, RunRecord
from pipeline.train.stage import train_stage


def rebuild_dataset(workspace: Place, dataset_id: str, scratch: Path, sources: tuple[str, ...] = ()) -> Dataset:
    """Preprocess the given sources of a data set again, in their order, or the recorded ones.

    The contents of the sources are compared, not their names. Large sources whose identity is another are tried with
    the identity that earlier versions gave them. Raises BadInput if a recorded source is gone, or the
    content is another, BadUsage if the number of given sources is another.
    """
    origin = load_origin(workspace, dataset_id)
    if sources and len(sources) != len(origin.datasets):
        raise BadUsage(f"--dataset is given {len(sources)} times, and {dataset_id} has {len(origin.datasets)} sources")
    if not sources:
        _check_sources_exist(origin)
    manifest = load_dataset(workspace / "datasets" / dataset_id).manifest
    config = replace(
        config_from_origin(origin),
        datasets=sources or origin.datasets,
        names=_list_source_names(manifest),
        splits=tuple(manifest.splits),  # an earlier version left out the validation split of some sources
    )
    rebuilt = preprocess_stage(StageContext(scratch, ()), config, StageLog())
    if rebuilt.manifest.dataset_id != origin.dataset_id and _may_have_pieces(rebuilt.manifest):
        with scan_tasks.digest_without_pieces():
            rebuilt = preprocess_stage(StageContext(scratch, ()), config, StageLog())
    if rebuilt.manifest.dataset_id != origin.dataset_id:
        raise BadInput(
            f"{', '.join(config.datasets)} is no longer what {origin.dataset_id} was made of: it gives "
            f"{rebuilt.manifest.dataset_id} now; --dataset PLACE says where the source is, if it was moved"
        )
    return rebuilt


def _may_have_pieces(manifest: Manifest) -> bool:
    """Return whether a split of a source may be so large that earlier versions gave it another identity."""
    num_source = manifest.num_rejected + sum(split.num_examples for split in manifest.splits.values())
    num_bytes = max(source.num_bytes for source in manifest.sources)
    return num_source > scan_tasks.WHOLE_EXAMPLES or num_bytes > scan_tasks.WHOLE_BYTES


def rebuild_from_any(workspace: Place, dataset_id: str, scratch: Path, sources: tuple[str, ...]) -> Dataset:
    """Preprocess again the recorded source of a data set of one source, or else the first given one of its content.

    Raises as `rebuild_dataset` of the last of them.
    """
    for source in ((), *((source,) for source in sources)):
        try:
            return rebuild_dataset(workspace, dataset_id, scratch, source)
        except (BadInput, BadUsage) as error:
            problem = error
    raise problem


def _check_sources_exist(origin: Origin) -> None:
    for dataset in origin.datasets:
        names = [name for name in split_file_names(dataset) or [dataset] if name not in KNOWN and not is_remote(name)]
        places = map(Path, names)
        gone = [place for place in places if not (place.exists() or is_pattern(place) or splits_off_prefix(place))]
        if gone:
            raise BadInput(
                f"{gone[0]}, of which {origin.dataset_id} was made, is not there any more: put it back, or say where "
                "it is now with --dataset PLACE"
            )


def _list_source_names(manifest: Manifest) -> tuple[str, ...]:
    """Return the names of a data set's sources, which are in the ids of its parts."""
    ids = [part.dataset_id for part in manifest.parts] or [manifest.dataset_id]
    return tuple(each.rpartition("-")[0] for each in ids)


def rebuild_run(workspace: Place, run: RunRecord, dataset: Dataset, scratch: Path) -> RunRecord:
    """Train a run of a workspace again on a data set, on the same device and without checkpoints.

    Raises CorruptArtefact if the data set or the parameters of the warm start do not verify.
    """
    start = run.config.warm_start
    if start:
        parameters = f"runs/{start.run_id}/{PARAMETERS_NAME}"
        write_atomically(scratch / parameters, read_with_digest(workspace / parameters, start.sha256))
    context = StageContext(scratch, (), _device_of(run))
    policy = CheckpointPolicy(every=0)
    [retrained] = train_stage(context, dataset, [run.config], False, policy, StageLog(), like=run)
    return retrained


def _device_of(run: RunRecord) -> str:
    """Return the value of `--device` that selects the device a run was trained on."""
    first = run.device.split(",")[0]
    if first.startswith("GPU"):
        return "auto" if run.config.num_replicas > 1 else f"gpu:{first.rpartition(':')[2]}"
    return "cpu"


def largest_difference(first: Sequence[StoredLayer], second: Sequence[StoredLayer]) -> float:
    """Return the largest absolute difference between two networks' parameters; infinity if their shapes differ."""
    first_arrays = [array for layer in first for array in layer]
    second_arrays = [array for layer in second for array in layer]
    if [array.shape for array in first_arrays] != [array.shape for array in second_arrays]:
        return float("inf")
    pairs = zip(first_arrays, second_arrays, strict=True)
    return max(float(np.abs(np.subtract(a, b, dtype=np.float64)).max()) for a, b in pairs)


def reevaluate_run(
    workspace: Place, run: RunRecord, dataset: Dataset, slicings: Slicings, scratch: Path
) -> EvaluationRecord:
    """Evaluate a run of a workspace, which may be the scratch workspace, again; see `trusted_slicings` for slicings.

    Raises CorruptArtefact if the parameters or a shard do not verify.
    """
    if workspace != scratch:
        copy_parameters(workspace, run, scratch)
    [evaluation] = evaluate_stage(StageContext(scratch, ()), dataset, [run], slicings, StageLog())
    return evaluation


def copy_parameters(workspace: Place, run: RunRecord, scratch: Path) -> None:
    """Copy the parameters of a run to a scratch workspace; raises CorruptArtefact if they do not verify."""
    folder = f"runs/{run.run_id}"
    write_atomically(scratch / folder / run.parameters.name, run.parameters.read(workspace / folder))


def trusted_slicings(evaluation: EvaluationRecord, trusted: Slicings) -> Slicings:
    """Return the slicings of an evaluation; raises BadUsage if one of them is not trusted.

    A user-defined slicing is code, and a workspace may come from a stranger. So a function that a record names is
    imported only if the user names it too.
    """
    slicings = order_slicings(evaluation.slicings)
    trusted_places = describe_slicings(trusted)
    for name, place in describe_slicings(slicings).items():
        if trusted_places.get(name) != place:
            raise BadUsage(
                f"{evaluation.run_id} was evaluated by the slicing {name}, which is code: the function {place}. If you "
                f"trust it, say so: --slice {name}={place}"
            )
    return slicings
