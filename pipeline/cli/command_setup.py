"""What commands check and prepare before their work starts. Heavy imports are lazy."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipeline.storage.places import Place

if TYPE_CHECKING:
    from model.cluster import Cluster
    from model.recipes import TrainingConfig
    from pipeline.context import StageContext


def build_stage_context(
    context: typer.Context,
    workspace: Place,
    device: str = "auto",
    cluster: "Cluster | None" = None,
    workers: int | None = None,
) -> "StageContext":
    """Return the context of every stage; raises BadUsage if the device or an option for Beam is not allowed.

    Args:
        context: of Typer; its object holds the options for Beam, which follow --.
        workspace: may be relative.
        device: the name that --device takes.
        cluster: the processes that train together; None for this one alone.
        workers: processes that share the work of Beam; None for as the options for Beam say.
    """
    from model.devices import check_device
    from pipeline.beam_runner import add_workers
    from pipeline.context import StageContext

    place = workspace.absolute()  # workers may run in another folder
    arguments = add_workers(context.obj or (), workers)
    return StageContext(place, arguments, device=check_device(device), cluster=cluster)


def read_cluster_config(config: "TrainingConfig") -> "Cluster | None":
    """Return the cluster that TF_CONFIG describes, or None; raises BadUsage if it cannot train the configuration."""
    from model.cluster import check_cluster, read_cluster

    cluster = read_cluster(os.environ)
    check_cluster(cluster, config)
    return cluster


def refuse_cluster() -> None:
    """Raise BadParameter if TF_CONFIG describes several processes: each would do the whole work."""
    from model.cluster import VARIABLE, read_cluster

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


def existing_workspace(workspace: Place) -> Place:
    """Return a workspace.

    Raises:
        BadParameter: it does not exist.
        CorruptArtefact: it holds a symbolic link.
    """
    from pipeline.storage.cleanup import refuse_links

    if not workspace.is_dir():
        raise typer.BadParameter(f"no workspace {workspace}: `backbeam run` or `backbeam preprocess` makes one")
    refuse_links(workspace)
    return workspace
