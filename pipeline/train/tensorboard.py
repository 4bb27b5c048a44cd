"""Log a run for TensorBoard: loss and accuracy, histograms of the parameters, the graph of a step, and mistakes."""

from importlib.util import find_spec
from math import isnan
from pathlib import Path

import tensorflow as tf

from model.errors import BadUsage, storage_failures
from model.examples import Examples, worst_mistakes
from model.fitting import Progress
from model.network import Parameters, load_layers, predict_in_pieces
from model.recipes import TrainingConfig
from model.training import network_of, start_state, update
from pipeline.preprocess.dataset import Dataset
from pipeline.storage.files import create_folder_atomically
from pipeline.storage.tables import decode_table
from pipeline.train.run_lookup import read_network
from pipeline.train.run_record import TENSORBOARD_NAME, RunRecord
from pipeline.train.split_reader import read_first_examples

MAX_MISTAKES = 32  # images at the last step


class TensorBoardLog:
    """The event files of one run."""

    def __init__(self, folder: Path, config: TrainingConfig, monitored: Examples, image_size: tuple[int, int]) -> None:
        """Create the event file and log the graph of a step; `image_size` is height and width.

        Raises BadUsage if TensorBoard is not installed, StorageFailed if the folder cannot be written to.
        """
        if find_spec("tensorboard") is None:
            raise BadUsage("--tensorboard needs the package tensorboard: pip install 'backbeam[tensorboard]'")
        self._folder = folder
        self._config = config
        self._monitored = monitored
        self._size = image_size
        with storage_failures(folder):
            self._writer = tf.summary.create_file_writer(str(folder))
            with self._writer.as_default(step=0):
                tf.summary.graph(_trace_step_graph(config))

    def report(self, point: Progress, parameters: Parameters | None) -> None:
        """Log a point of the learning curve and its parameters, if they are known; at the last step also the mistakes.

        The parameters of the last step must be known.
        """
        with storage_failures(self._folder), self._writer.as_default(step=point.step):
            if not isnan(point.loss):  # as it is at step 0
                tf.summary.scalar("loss", point.loss)
            accuracy = point.num_correct / max(1, point.num_monitored)
            tf.summary.scalar("accuracy of the first test examples", accuracy)
            for number, layer in enumerate(parameters or (), 1):
                tf.summary.histogram(f"layer {number}/weights", layer.weights)
                tf.summary.histogram(f"layer {number}/biases", layer.biases)
            if parameters and point.step == self._config.num_steps:
                self._log_mistakes(parameters)
            self._writer.flush()
        if point.step == self._config.num_steps:
            self._writer.close()

    def _log_mistakes(self, parameters: Parameters) -> None:
        outputs = predict_in_pieces(network_of(self._config), parameters, self._monitored.images)
        mistakes = worst_mistakes(self._monitored.labels, outputs.argmax(axis=1), outputs.max(axis=1))
        chosen = mistakes[:MAX_MISTAKES]
        if not len(chosen):
            return
        images = self._monitored.images[chosen].reshape(-1, *self._size, 1)
        captions = [
            f"{rank}. test:{self._monitored.indices[i]}: class {self._monitored.labels[i]} taken for "
            f"{outputs[i].argmax()} ({outputs[i].max():.3f})"
            for rank, i in enumerate(chosen.tolist(), 1)
        ]
        tf.summary.image("mistakes", images, max_outputs=MAX_MISTAKES, description="\n".join(captions))


def log_complete_run(workspace: Path, dataset: Dataset, run: RunRecord) -> None:
    """Write the log of a run that was trained without one, from its learning curve and its parameters.

    The histograms are of the last step only: the parameters of earlier steps are not kept. Raises BadUsage and
    StorageFailed as `TensorBoardLog`, CorruptArtefact if a file of the run or the data set does not match its record.
    """
    folder = workspace / "runs" / run.run_id
    parameters = load_layers(read_network(folder, run.parameters, run.config).layers)
    manifest = dataset.manifest
    monitored = read_first_examples(dataset.folder, manifest, "test")
    with create_folder_atomically(folder / TENSORBOARD_NAME) as temporary:
        log = TensorBoardLog(temporary, run.config, monitored, (manifest.height, manifest.width))
        for point in _read_learning_curve(workspace, run):
            log.report(point, parameters if point.step == run.config.num_steps else None)


def _read_learning_curve(workspace: Path, run: RunRecord) -> list[Progress]:
    [file] = [table for table in run.tables if table.table == "learning_curve"]
    rows = decode_table(file.read(file.folder(workspace, run.run_id)), file.name, Progress._fields).to_pylist()
    return [Progress(**row) for row in rows]


def _trace_step_graph(config: TrainingConfig) -> tf.Graph:
    """Return the graph of one update: forward pass, gradients and descent; of the step compare, the manual update."""
    if config.step == "compare":
        config = config.model_copy(update={"step": "manual"})
    state = tf.nest.map_structure(lambda value: tf.TensorSpec(value.shape, value.dtype), start_state(config))
    images = tf.TensorSpec((config.batch_size, config.layers[0]), tf.uint8)
    labels = tf.TensorSpec((config.batch_size,), tf.int32)

    def step(state: object, images: object, labels: object) -> object:
        return update(config, state, images, labels)  # type: ignore[arg-type]

    return tf.function(step, autograph=False).get_concrete_function(state, images, labels).graph
