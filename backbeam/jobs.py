"""The commands of a job as functions: they return records and raise the errors of `backbeam`.

Each call locks its workspace as the command does. Heavy imports are lazy.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from backbeam.calls import as_list, as_path, called_from_python, check_keywords
from backbeam.settings import (
    DatasetSettings,
    EvaluateSettings,
    JobSettings,
    PathOrUri,
    PreprocessSettings,
    Sources,
    TrainingSettings,
    TrainSettings,
    ValidateSettings,
)

if TYPE_CHECKING:
    from model.recipes import TrainingConfig
    from pipeline.context import StageContext
    from pipeline.evaluate.evaluation_record import EvaluationRecord
    from pipeline.evaluate.slice_config import Slicings
    from pipeline.preprocess.stage import DatasetConfig
    from pipeline.registry.retrain import RetrainResult
    from pipeline.stages import JobResult, ValidatedDataset
    from pipeline.storage.places import Place
    from pipeline.train.checkpoint_policy import CheckpointPolicy
    from pipeline.train.run_record import RunRecord

DEFAULT_WORKSPACE = "backbeam-workspace"


def run(
    dataset: Sources = "mnist-5k",
    *,
    workspace: PathOrUri = DEFAULT_WORKSPACE,
    recipe: str | None = None,
    config: PathOrUri | None = None,
    seeds: Sequence[int] | None = None,
    name: str | None = None,
    baseline: str | None = None,
    slices: Mapping[str, str] | None = None,
    tensorboard: bool = False,
    **settings: Unpack[JobSettings],
) -> "JobResult":
    """Preprocess, validate, train and evaluate, as `backbeam run` does; verify and skip complete stages.

    Arguments are the command's options. Several data sets are joined; seeds give a run each; config is a TOML file;
    slices are MODULE:FUNCTION by name. Raises a `BackbeamError` where the command ends with that error's exit code.
    """
    check_keywords(run, settings, JobSettings)
    with called_from_python(settings.get("verbose", False), workspace, *_texts(dataset, settings)):
        from pipeline.context import StageLog
        from pipeline.stages import JobConfig, run_job
        from pipeline.train.run_names import name_runs
        from pipeline.train.stage import check_single_process

        configs = _training_configs(recipe, config, seeds, settings)
        job = JobConfig(
            dataset=_dataset_config(dataset, settings),
            checks=_checks(config),
            baseline=baseline,
            training=configs,
            tensorboard=tensorboard,
            checkpoints=_checkpoints(settings),
            slicings=_slicings(config, slices),
            names=name_runs(name, configs, seeds is not None),
            writes_seeds=seeds is not None,
        )
        context = _context(workspace, settings)
        check_single_process(context, job.training[0], tensorboard)
        with _lock(context.workspace, settings):
            return run_job(context, job, StageLog())


def preprocess(
    dataset: Sources = "mnist-5k",
    *,
    workspace: PathOrUri = DEFAULT_WORKSPACE,
    config: PathOrUri | None = None,
    baseline: str | None = None,
    **settings: Unpack[PreprocessSettings],
) -> "ValidatedDataset":
    """Turn source files into shards and validate them, as `backbeam preprocess` does; see `run`."""
    check_keywords(preprocess, settings, PreprocessSettings)
    with called_from_python(settings.get("verbose", False), workspace, *_texts(dataset, settings)):
        from pipeline.context import StageLog
        from pipeline.stages import preprocess_and_validate

        dataset_config = _dataset_config(dataset, settings)
        checks = _checks(config)
        context = _context(workspace, settings)
        with _lock(context.workspace, settings):
            return preprocess_and_validate(context, dataset_config, checks, baseline, StageLog())


def validate(
    dataset: str | None = None,
    *,
    workspace: PathOrUri = DEFAULT_WORKSPACE,
    config: PathOrUri | None = None,
    baseline: str | None = None,
    **settings: Unpack[ValidateSettings],
) -> "ValidatedDataset":
    """Check a data set of the workspace, named by its id or its beginning, None for the only one; see `run`.

    Raises BadInput if a check of severity error fails.
    """
    check_keywords(validate, settings, ValidateSettings)
    with called_from_python(settings.get("verbose", False), workspace):
        from pipeline.context import StageLog
        from pipeline.stages import validate_again
        from pipeline.storage.workspace import existing_workspace

        checks = _checks(config)
        context = _context(workspace, settings)
        with _lock(existing_workspace(context.workspace), settings):
            return validate_again(context, dataset, checks, baseline, StageLog())


def train(
    dataset: str | None = None,
    *,
    workspace: PathOrUri = DEFAULT_WORKSPACE,
    recipe: str | None = None,
    config: PathOrUri | None = None,
    seeds: Sequence[int] | None = None,
    name: str | None = None,
    tensorboard: bool = False,
    **settings: Unpack[TrainSettings],
) -> "list[RunRecord]":
    """Train on a data set of the workspace, named as in `validate`; return the record of the run of each seed."""
    check_keywords(train, settings, TrainSettings)
    with called_from_python(settings.get("verbose", False), workspace):
        from pipeline.context import StageLog
        from pipeline.preprocess.dataset import find_dataset
        from pipeline.storage.workspace import existing_workspace
        from pipeline.train.run_names import name_runs
        from pipeline.train.stage import check_single_process, train_stage

        configs = _training_configs(recipe, config, seeds, settings)
        names = name_runs(name, configs, seeds is not None)
        policy = _checkpoints(settings)
        context = _context(workspace, settings)
        check_single_process(context, configs[0], tensorboard)
        place = existing_workspace(context.workspace)
        with _lock(place, settings):
            data = find_dataset(place, dataset)
            return train_stage(context, data, configs, tensorboard, policy, StageLog(), names)


def evaluate(
    run: str | None = None,
    *,
    workspace: PathOrUri = DEFAULT_WORKSPACE,
    config: PathOrUri | None = None,
    slices: Mapping[str, str] | None = None,
    **settings: Unpack[EvaluateSettings],
) -> "EvaluationRecord":
    """Evaluate a run of the workspace on every split; it is named as RUN of the commands, None for the only one.

    Slicings that the run was not evaluated with are added. See `run` for the other arguments.
    """
    check_keywords(evaluate, settings, EvaluateSettings)
    with called_from_python(settings.get("verbose", False), workspace):
        from pipeline.context import StageLog
        from pipeline.evaluate.stage import evaluate_stage
        from pipeline.preprocess.scan_runner import check_by_workers
        from pipeline.registry.history import resolve_run
        from pipeline.storage.workspace import existing_workspace
        from pipeline.train.run_lookup import find_run

        slicings = _slicings(config, slices)
        context = _context(workspace, settings)
        with _lock(existing_workspace(context.workspace), settings):
            check = partial(check_by_workers, context)
            trained, data = find_run(context.workspace, resolve_run(context.workspace, run), check)
            [evaluation] = evaluate_stage(context, data, [trained], slicings, StageLog())
        return evaluation


def retrain(
    dataset: Sources = "mnist-5k",
    *,
    workspace: PathOrUri = DEFAULT_WORKSPACE,
    recipe: str | None = None,
    config: PathOrUri | None = None,
    name: str | None = None,
    baseline: str | None = None,
    warm_start: bool = False,
    slices: Mapping[str, str] | None = None,
    tensorboard: bool = False,
    why: str = "",
    **settings: Unpack[JobSettings],
) -> "RetrainResult":
    """Train a challenger and make it the champion if the policy allows, as `backbeam retrain` does; see `run`."""
    check_keywords(retrain, settings, JobSettings)
    with called_from_python(settings.get("verbose", False), workspace, *_texts(dataset, settings)):
        from pipeline.cli.config import resolve_kept, resolve_promotion
        from pipeline.context import StageLog
        from pipeline.maintenance.deletion import prune_after_retrain
        from pipeline.registry import retrain as retraining
        from pipeline.train.run_names import check_name
        from pipeline.train.stage import check_single_process

        [training] = _training_configs(recipe, config, None, settings)
        job = retraining.RetrainConfig(
            dataset=_dataset_config(dataset, settings),
            training=training,
            warm_start=warm_start,
            policy=resolve_promotion(as_path(config)),
            checks=_checks(config),
            baseline=baseline,
            slicings=_slicings(config, slices),
            checkpoints=_checkpoints(settings),
            why=why,
            name=None if name is None else check_name(name),
            tensorboard=tensorboard,
        )
        context = _context(workspace, settings)
        check_single_process(context, training, tensorboard)
        rule = resolve_kept(as_path(config))
        with _lock(context.workspace, settings):
            result = retraining.retrain(context, job, StageLog())
            prune_after_retrain(context.workspace, rule, job, result)
        return result


def _texts(dataset: Sources, settings: Mapping[str, Any]) -> list[str]:
    """Return the arguments that may be URIs."""
    return [*as_list(dataset), *as_list(settings.get("data_dir") or [])]


def _lock(workspace: "Place", settings: Mapping[str, Any]) -> AbstractContextManager[None]:
    from pipeline.storage.lock import lock_workspace

    return lock_workspace(workspace, settings.get("wait", 0))


def _context(workspace: PathOrUri, settings: Mapping[str, Any]) -> "StageContext":
    from model.devices import check_device
    from pipeline.beam_options import read_beam_options
    from pipeline.context import StageContext
    from pipeline.storage.places import place_of

    arguments = read_beam_options(settings.get("beam_options", ()), settings.get("workers"))
    return StageContext(place_of(str(workspace)).absolute(), arguments, check_device(settings.get("device", "auto")))


def _dataset_config(dataset: Sources, settings: Mapping[str, Any]) -> "DatasetConfig":
    from pipeline.cli.config import parse_arrays, parse_size
    from pipeline.preprocess.stage import DatasetConfig
    from pipeline.sources.catalog import PictureOptions

    given = {name: settings[name] for name in DatasetSettings.__annotations__ if settings.get(name) is not None}
    for name in ("image_size", "resize"):
        if name in given:
            given[name] = parse_size("x".join(map(str, given[name])), f"--{name.replace('_', '-')}")
    if "arrays" in given:
        given["arrays"] = parse_arrays(",".join(given["arrays"]))
    if "data_dir" in given:
        given["data_dir"] = str(given["data_dir"])
    if "cache_dir" in given:
        given["cache_dir"] = as_path(given["cache_dir"])
    pictures = PictureOptions(**{name: given.pop(name) for name in PictureOptions._fields if name in given})
    return DatasetConfig(datasets=tuple(as_list(dataset)), pictures=pictures, **given)


def _training_configs(
    recipe: str | None, config: PathOrUri | None, seeds: Sequence[int] | None, settings: Mapping[str, Any]
) -> "list[TrainingConfig]":
    from pipeline.cli.config import resolve_trainings
    from pipeline.evaluate.seeds import parse_seeds

    changes = {name: settings.get(name) for name in TrainingSettings.__annotations__}
    checked_seeds = None if seeds is None else parse_seeds(",".join(map(str, seeds)))
    return resolve_trainings(as_path(config), changes | {"recipe": recipe}, checked_seeds)


def _checks(config: PathOrUri | None) -> Any:
    from pipeline.cli.config import resolve_validation

    return resolve_validation(as_path(config))


def _checkpoints(settings: Mapping[str, Any]) -> "CheckpointPolicy":
    from pipeline.train.checkpoint_policy import CheckpointPolicy

    return CheckpointPolicy(settings.get("checkpoint_every"), settings.get("keep_checkpoints", 2))


def _slicings(config: PathOrUri | None, slices: Mapping[str, str] | None) -> "Slicings":
    from pipeline.cli.config import resolve_evaluation

    return resolve_evaluation(as_path(config), [f"{name}={place}" for name, place in (slices or {}).items()])
