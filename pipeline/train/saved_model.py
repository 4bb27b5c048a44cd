"""Write a trained network as a folder for other programs, atomically."""

import json
from pathlib import Path
from typing import Any

from model.checkpoint import decode_parameters
from model.export import describe_network, save_network
from model.network import build_network
from model.recipes import TrainingConfig
from pipeline.storage.files import create_folder_atomically, digest_of, write_atomically
from pipeline.train.run_record import PARAMETERS_NAME

SAVED_MODEL_NAME = "saved_model"
DESCRIPTION_NAME = "model.json"


def write_saved_model(
    target: Path,
    data: bytes,
    config: TrainingConfig,
    image_size: tuple[int, int],
    class_names: tuple[str, ...],
    origin: dict[str, Any],
) -> None:
    """Write a folder with a SavedModel, the parameters and a description of both.

    Args:
        target: the folder; it must not exist.
        data: content of the parameters file, already verified.
        config: as trained.
        image_size: height and width.
        class_names: in the order of the outputs.
        origin: JSON values: the run and the data set that the model comes from.

    Raises:
        BadUsage: target exists.
        CorruptArtefact: the parameters do not have the layers of the configuration.
    """
    parameters = decode_parameters(data, PARAMETERS_NAME, config.layers)
    network = build_network(config.activation, config.output, config.loss)
    parameters_file = {"name": PARAMETERS_NAME, "num_bytes": len(data), "sha256": digest_of(data)}
    about = describe_network(config, *image_size, class_names) | {"parameters": parameters_file, "origin": origin}
    with create_folder_atomically(target) as folder:
        save_network(folder / SAVED_MODEL_NAME, network, parameters, *image_size)
        write_atomically(folder / PARAMETERS_NAME, data)
        write_atomically(folder / DESCRIPTION_NAME, json.dumps(about, indent=2, sort_keys=True).encode() + b"\n")
