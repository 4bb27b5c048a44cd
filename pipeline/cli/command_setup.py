"""Checks of a command's surroundings, and the settings that it gives to the stages."""

import os
from pathlib import Path

import typer

from model.cluster import VARIABLE, Cluster, check_cluster, read_cluster
from model.devices import check_device
from model.recipes import TrainingConfig
from pipeline.beam_runner import add_workers
from pipeline.context import StageContext
from pipeline.storage.cleanup import refuse_links
from pipeline.storage.places import Place


def build_stage_context(
    context: typer.Context,
    workspace: Place,
    device: str = "auto",
    cluster: Cluster | None = None,
    workers: int | None = None,
) -> StageContext:
    """Return the settings of all stages; raises BadUsage if the device or an option for Beam is not allowed."""
    arguments = add_workers(context.obj or (), workers)  # the object is the options for Beam, which follow --
    place = workspace.absolute()  # workers may run in another folder
    return StageContext(place, arguments, check_device(device), cluster)


def read_cluster_config(config: TrainingConfig) -> Cluster | None:
    """Return the cluster that TF_CONFIG describes, or None; raises BadUsage if it cannot train the configuration."""
    cluster = read_cluster(os.environ)
    check_cluster(cluster, config)
    return cluster


def refuse_cluster() -> None:
    """Raise BadParameter if TF_CONFIG describes several processes: each would do the whole work."""
    if read_cluster(os.environ):
        raise typer.BadParameter(
            f"{VARIABLE} names several processes, and only `backbeam train` works in several: run `backbeam "
            "preprocess` once, `backbeam train` in each, `backbeam evaluate` once; or unset the variable"
        )


def refuse_remote_logs(workspace: Place, tensorboard: bool) -> None:
    """Raise BadParameter if TensorBoard's logs would go to an object store, which its writer does not support."""
    if tensorboard and not isinstance(workspace, Path):
        raise typer.BadParameter(f"--tensorboard needs a workspace on this machine, and {workspace} is in a store")


def refuse_beam_options(context: typer.Context) -> None:
    """Raise BadParameter if there are options for Beam: the command would ignore them."""
    if context.obj:
        raise typer.BadParameter(f"{context.info_name} runs no Beam pipeline: nothing may follow --")


def open_workspace(context: typer.Context, workspace: Place) -> Place:
    """Return the workspace of a command that only reads; raises BadParameter as the two functions that it calls."""
    refuse_beam_options(context)
    return existing_workspace(workspace)


def existing_workspace(workspace: Place) -> Place:
    """Return a workspace; raises BadParameter if it does not exist, CorruptArtefact if it holds a symbolic link."""
    if not workspace.is_dir():
        raise typer.BadParameter(f"no workspace {workspace}: `backbeam run` or `backbeam preprocess` makes one")
    refuse_links(workspace)
    return workspace
