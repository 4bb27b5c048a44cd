"""Export the model of a run as a folder for programs without backbeam."""

import json
from pathlib import Path

from pipeline.context import quiet_imports
from pipeline.storage.files import check_does_not_exist, create_folder_atomically, file_digest, write_atomically
from pipeline.train.run_lookup import TrainedModel
from pipeline.train.run_record import PARAMETERS_NAME, RUN_NAME


def export_model(model: TrainedModel, target: Path) -> None:
    """Write a folder with a SavedModel, the parameters and a description of both, atomically.

    Raises BadUsage if target exists, CorruptArtefact if the parameters do not match the run's record.
    """
    check_does_not_exist(target)
    run = model.run
    data = run.parameters.read(model.folder)
    with quiet_imports():
        from model.checkpoint import decode_parameters
        from model.devices import initialise_devices
        from model.export import describe_network, save_network
        from model.network import build_network, load_layers

        initialise_devices()
    size = (model.manifest.height, model.manifest.width)
    parameters = load_layers(decode_parameters(data, PARAMETERS_NAME, run.config.layers))
    network = build_network(run.config.activation, run.config.output, run.config.loss)
    about = describe_network(
        run.config, *size, model.manifest.class_names, model.manifest.style.model_dump(mode="json")
    )
    about["parameters"] = run.parameters.model_dump()
    about["origin"] = {
        "run_id": run.run_id,
        "run_digest": file_digest(model.folder / RUN_NAME),
        "dataset_id": run.dataset_id,
        "dataset_digest": run.dataset_digest,
        "versions": run.versions,
    }
    with create_folder_atomically(target) as folder:
        save_network(folder / "saved_model", network, parameters, *size)
        write_atomically(folder / PARAMETERS_NAME, data)
        write_atomically(folder / "model.json", json.dumps(about, indent=2, sort_keys=True).encode() + b"\n")
