"""Export a run's model for other programs."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.context import quiet_imports
from pipeline.storage.files import file_digest
from pipeline.storage.folders import check_does_not_exist
from pipeline.train.run_lookup import Model
from pipeline.train.run_record import RUN_NAME

if TYPE_CHECKING:
    pass  # NumPy and Pillow are not needed by every command


def export_model(model: Model, target: Path) -> None:
    """Write a run's model for other programs.

    Raises:
        BadUsage: target is there already.
        CorruptArtefact: the parameters are not what the run's record says.
    """
    check_does_not_exist(target)
    data = model.run.parameters.read(model.folder)
    with quiet_imports():
        from model.devices import initialise_devices
        from pipeline.train.saved_model import write_saved_model

        initialise_devices()
    run, manifest = model.run, model.manifest
    origin = {
        "run_id": run.run_id,
        "run_digest": file_digest(model.folder / RUN_NAME),
        "dataset_id": run.dataset_id,
        "dataset_digest": run.dataset_digest,
        "versions": run.versions,
    }
    write_saved_model(target, data, run.config, (manifest.height, manifest.width), manifest.class_names, origin)
