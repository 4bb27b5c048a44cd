"""What is done with a complete data set or model besides the stages: look at it, ask it, take it elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.lookup import Dataset, Model
from pipeline.manifest import MANIFEST_NAME, load_manifest
from pipeline.places import Place
from pipeline.runs import RUN_NAME, find_complete
from pipeline.storage import check_free, file_digest
from pipeline.validation import ValidationRecord, check_validation, is_validated
from pipeline.work import quiet_imports

if TYPE_CHECKING:
    from pipeline.inspection import Named
    from pipeline.predict import Answer, Outputs
    from pipeline.sources.pictures import Grey  # NumPy and Pillow are not needed by every command


@dataclass(frozen=True)
class Inspection:
    """What `inspect` shows.

    Attributes:
        dataset: the data set; of its files, only those that were shown are checked.
        statistics: see `inspection.statistics`.
        validation: what was found when it was validated, if it was.
        sheet: the contact sheet's file.
        named: the examples on it, if any were asked for by name.
    """

    dataset: Dataset
    statistics: dict[str, Any]
    validation: ValidationRecord | None
    sheet: Place
    named: "list[Named]"


def predict_files(model: Model, files: list[str]) -> "list[Answer]":
    """Classify every image of every file by a run's model.

    Raises:
        BadInput: a file is missing, damaged or of no known kind, or an image does not fit the model.
        CorruptArtefact: the parameters are not what the run's record says.
    """
    data = model.run.parameters.read(model.folder)
    with quiet_imports():
        from model.checkpoint import decode_parameters
        from model.devices import initialise_devices
        from model.network import build_network, predict
        from pipeline.predict import answer_files

        initialise_devices()
    config, manifest = model.run.config, model.manifest
    network = build_network(config.activation, config.output, config.loss)
    parameters = decode_parameters(data, str(model.folder / model.run.parameters.name), config.layers)

    def classify(images: "Grey") -> "Outputs":
        outputs: Outputs = predict(network, parameters, images).numpy()
        return outputs

    return answer_files(files, manifest.height, manifest.width, manifest.class_names, classify)


def export_model(model: Model, target: Path) -> None:
    """Write a run's model for other programs.

    Raises:
        BadUsage: target is there already.
        CorruptArtefact: the parameters are not what the run's record says.
    """
    check_free(target)
    data = model.run.parameters.read(model.folder)
    with quiet_imports():
        from model.devices import initialise_devices
        from pipeline.export import export

        initialise_devices()
    run, manifest = model.run, model.manifest
    origin = {
        "run_id": run.run_id,
        "run_digest": file_digest(model.folder / RUN_NAME),
        "dataset_id": run.dataset_id,
        "dataset_digest": run.dataset_digest,
        "versions": run.versions,
    }
    export(target, data, run.config, (manifest.height, manifest.width), manifest.class_names, origin)


def inspect_dataset(
    workspace: Place, wanted: str | None, target: Path | None, split: str, per_class: int, examples: Sequence[str]
) -> Inspection:
    """Work out a data set's statistics and write a contact sheet.

    Args:
        workspace: that holds it.
        wanted: see `runs.find_complete`.
        target: the sheet's folder; None for the workspace's own.
        split: whose classes to show.
        per_class: how many examples of each.
        examples: names of examples to show instead.

    Raises:
        BadUsage: there is no such data set, split or example.
        CorruptArtefact: a file that was read is not what its record says.
    """
    from pipeline import inspection

    folder = find_complete(workspace / "datasets", MANIFEST_NAME, wanted, "data set")
    data = Dataset(folder, *load_manifest(folder))
    inspection.check_split("--split", split, data.manifest)
    names = inspection.parse_examples(examples, data.manifest)
    validation = check_validation(workspace, folder.name, data.digest) if is_validated(folder) else None
    place, named = target or workspace / "inspect" / folder.name, list["Named"]()
    if examples:
        sheet = place / inspection.EXAMPLES_NAME
        named = inspection.write_example_sheet(sheet, folder, data.manifest, names)
    else:
        sheet = place / inspection.CLASSES_NAME
        inspection.write_class_sheet(sheet, folder, data.manifest, split, per_class)
    return Inspection(data, inspection.statistics(data.manifest), validation, sheet, named)
