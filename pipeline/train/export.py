"""Export the model of a run for programs without backbeam."""

from pathlib import Path

from pipeline.context import quiet_imports
from pipeline.storage.files import check_does_not_exist, file_digest
from pipeline.train.run_lookup import Model
from pipeline.train.run_record import RUN_NAME


def export_model(model: Model, target: Path) -> None:
    """Write the model of a run as a SavedModel, with its parameters and a description.

    Raises:
        BadUsage: target exists.
        CorruptArtefact: the parameters do not match the run's record.
    """
    check_does_not_exist(target)
    data = model.run.parameters.read(model.folder)
    with quiet_imports():
        from model.devices import initialise_devices
        from pipeline.train.saved_model import write_saved_model

        initialise_devices()
    run = model.run
    manifest = model.manifest
    origin = {
        "run_id": run.run_id,
        "run_digest": file_digest(model.folder / RUN_NAME),
        "dataset_id": run.dataset_id,
        "dataset_digest": run.dataset_digest,
        "versions": run.versions,
    }
    write_saved_model(target, data, run.config, (manifest.height, manifest.width), manifest.class_names, origin)
