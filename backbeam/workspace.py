"""Objects for a workspace, its data sets and its runs. They verify the files that they read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backbeam.calls import called_from_python
from backbeam.settings import PathOrUri
from pipeline.storage.places import Place

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    import tensorflow as tf

    from model.network import Parameters
    from model.recipes import TrainingConfig
    from pipeline.evaluate.evaluation_record import EvaluationRecord
    from pipeline.evaluate.predict import ClassifiedImages
    from pipeline.preprocess.dataset import Dataset
    from pipeline.preprocess.manifest import Manifest
    from pipeline.train.run_lookup import TrainedModel
    from pipeline.train.run_record import RunRecord


def open_workspace(path: PathOrUri) -> "Workspace":
    """Open a workspace, a folder or a URI, for reading; raises BadUsage if it does not exist."""
    with called_from_python(False, path):
        from pipeline.storage.places import place_of
        from pipeline.storage.workspace import existing_workspace

        return Workspace(existing_workspace(place_of(str(path)).absolute()))


@dataclass(frozen=True)
class Workspace:
    """A workspace. Data sets and runs are named by ids or beginnings of them; None for the only one."""

    path: Place

    def datasets(self) -> "list[WorkspaceDataset]":
        """Return the complete data sets, sorted by id; raises CorruptArtefact if a manifest cannot be read."""
        with called_from_python(False):
            from pipeline.preprocess.dataset import load_dataset
            from pipeline.preprocess.manifest import MANIFEST_NAME
            from pipeline.storage.files import list_folders_with

            folders = list_folders_with(self.path / "datasets", MANIFEST_NAME)
            return [WorkspaceDataset(load_dataset(folder)) for folder in folders]

    def dataset(self, name: str | None = None) -> "WorkspaceDataset":
        """Return a complete data set; raises BadUsage if none or several match, CorruptArtefact."""
        with called_from_python(False):
            from pipeline.preprocess.dataset import find_dataset, load_dataset

            return WorkspaceDataset(find_dataset(self.path, name, load_dataset))

    def runs(self) -> "list[WorkspaceRun]":
        """Return the complete runs, the newest first; raises CorruptArtefact if a record cannot be read."""
        with called_from_python(False):
            from pipeline.evaluate.evaluated_runs import list_runs

            listing = list_runs(self.path)
            if listing.problems:
                raise listing.problems[0]
            return [self.run(summary.run.run_id) for summary in listing.runs]

    def run(self, name: str | None = None) -> "WorkspaceRun":
        """Return a complete run, named as RUN of the commands; raises BadUsage, CorruptArtefact."""
        with called_from_python(False):
            from pipeline.registry.history import resolve_run
            from pipeline.train.run_lookup import find_model

            return WorkspaceRun(self.path, find_model(self.path, resolve_run(self.path, name)))


@dataclass(frozen=True)
class WorkspaceDataset:
    """A complete data set."""

    _dataset: "Dataset" = field(repr=False)

    def __repr__(self) -> str:
        return f"<data set {self.dataset_id}>"

    @property
    def dataset_id(self) -> str:
        """The name of its folder."""
        return self.manifest.dataset_id

    @property
    def manifest(self) -> "Manifest":
        """Its sizes, classes, splits and files."""
        return self._dataset.manifest

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the labels."""
        return self.manifest.class_names

    def to_numpy(self, split: str) -> "tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]":
        """Return a split in the order of its source: images uint8[n, height, width], and labels int64[n].

        Raises BadUsage if there is no such split, CorruptArtefact if a shard does not match the manifest.
        """
        with called_from_python(False):
            from pipeline.preprocess.shards import read_split

            examples = read_split(self._dataset.folder, self.manifest, split)
            images = examples.images.reshape(-1, self.manifest.height, self.manifest.width)
            return images, examples.labels

    def to_tf(self, split: str, batch_size: int | None = None, seed: int | None = None) -> "tf.data.Dataset":
        """Return a split as a `tf.data.Dataset` of (uint8[height, width], int64[]), or of batches of them.

        With a seed, 0 to 2^63 - 1, every pass has another order. All shards are verified before this returns. Raises as
        `to_numpy`.
        """
        with called_from_python(False):
            from pipeline.context import quiet_imports

            with quiet_imports():
                from pipeline.train.tf_dataset import build_tf_dataset
            return build_tf_dataset(self._dataset, split, batch_size, seed)


@dataclass(frozen=True)
class WorkspaceRun:
    """A complete run."""

    _workspace: Place = field(repr=False)
    _model: "TrainedModel" = field(repr=False)

    def __repr__(self) -> str:
        return f"<run {self.run_id}>"

    @property
    def run_id(self) -> str:
        """The name of its folder."""
        return self.record.run_id

    @property
    def record(self) -> "RunRecord":
        """Its record, run.json."""
        return self._model.run

    @property
    def config(self) -> "TrainingConfig":
        """The settings that it was trained with."""
        return self.record.config

    @property
    def evaluation(self) -> "EvaluationRecord | None":
        """Its figures for each split; None if it is not evaluated. Raises CorruptArtefact."""
        with called_from_python(False):
            from pipeline.evaluate.evaluation_record import EVALUATION_NAME, load_evaluation

            is_evaluated = (self._model.folder / EVALUATION_NAME).exists()
            return load_evaluation(self._workspace, self.record) if is_evaluated else None

    @property
    def tables(self) -> "Mapping[str, pa.Table]":
        """Its rows of each table by the table's name, read and verified when they are asked for."""
        return RunTables(self)

    def parameters(self) -> "Parameters":
        """Return the tensors of each layer: weights, float32[outputs, inputs], and biases, float32[outputs]."""
        with called_from_python(False):
            from pipeline.train.run_lookup import load_parameters

            return load_parameters(self._model)

    def predict(self, images: "npt.NDArray[np.uint8]") -> "ClassifiedImages":
        """Classify uint8[n, height, width] images, of the data set's size; return labels and probabilities.

        Raises BadInput for images of another type or size, and CorruptArtefact.
        """
        with called_from_python(False):
            from pipeline.evaluate.predict import predict_array

            return predict_array(self._model, images)


class RunTables(Mapping[str, Any]):
    """The tables of a run that exist, by name; values are `pyarrow.Table`."""

    def __init__(self, run: WorkspaceRun) -> None:
        self._run = run

    def __getitem__(self, name: str) -> Any:
        """Read and verify a table; raises BadUsage if the run has none of that name, and CorruptArtefact."""
        with called_from_python(False):
            from pipeline.evaluate.table_reader import read_rows

            return read_rows(self._run._workspace, name, self._run.run_id)

    def __contains__(self, name: object) -> bool:
        return name in set(self)

    def __iter__(self) -> Iterator[str]:
        evaluation = self._run.evaluation
        files = (*self._run.record.tables, *(evaluation.tables if evaluation else ()))
        return iter(dict.fromkeys(file.table for file in files))

    def __len__(self) -> int:
        return sum(1 for _ in self)  # list(self) would ask for the length

    def get(self, name: str, default: Any = None) -> Any:
        """Read and verify a table; return the default if the run has none of that name. Raises CorruptArtefact."""
        if name not in self:
            return default
        return self[name]
