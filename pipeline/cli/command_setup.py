"""Checks of a command's surroundings, and the settings that it gives to the stages."""

import os

import typer

from model.cluster import Cluster, check_cluster, read_cluster
from model.devices import check_device
from model.recipes import TrainingConfig
from pipeline.beam_options import read_beam_options
from pipeline.context import StageContext
from pipeline.storage.places import Place
from pipeline.storage.workspace import existing_workspace


def build_stage_context(
    context: typer.Context,
    workspace: Place,
    device: str = "auto",
    cluster: Cluster | None = None,
    workers: int | None = None,
) -> StageContext:
    """Return the settings of all stages; raises BadUsage if the device or an option for Beam is not allowed."""
    arguments = read_beam_options(context.obj or (), workers)  # the object is the options for Beam, which follow --
    return StageContext(workspace, arguments, check_device(device), cluster)


def set_up_training(
    context: typer.Context,
    workspace: Place,
    config: TrainingConfig,
    tensorboard: bool,
    device: str,
    workers: int | None,
) -> StageContext:
    """Return the settings of a command that trains in this process alone; raises as `check_single_process`."""
    from pipeline.train.stage import check_single_process

    stage_context = build_stage_context(context, workspace, device, workers=workers)
    check_single_process(stage_context, config, tensorboard)
    return stage_context


def read_cluster_config(config: TrainingConfig) -> Cluster | None:
    """Return the cluster that TF_CONFIG describes, or None; raises BadUsage if it cannot train the configuration."""
    cluster = read_cluster(os.environ)
    check_cluster(cluster, config)
    return cluster


def refuse_beam_options(context: typer.Context) -> None:
    """Raise BadParameter if there are options for Beam: the command would ignore them."""
    if context.obj:
        raise typer.BadParameter(f"{context.info_name} runs no Beam pipeline: nothing may follow --")


def open_workspace(context: typer.Context, workspace: Place) -> Place:
    """Return the workspace of a command that only reads; raises as the two functions that it calls."""
    refuse_beam_options(context)
    return existing_workspace(workspace)
