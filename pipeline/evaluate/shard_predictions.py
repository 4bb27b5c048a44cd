"""Run a trained network on whole shards of a data set. Writes nothing and imports no Beam."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from model.examples import Bytes
from model.inference import Floats, Inference, piece_rows, same_everywhere
from pipeline.evaluate.slice_config import Slicings
from pipeline.evaluate.slices import Names, PredictedExamples
from pipeline.evaluate.weight_statistics import ActivationRange, merge_ranges
from pipeline.preprocess.manifest import Manifest, ShardInfo
from pipeline.preprocess.shards import read_shard
from pipeline.storage.places import Place
from pipeline.train.run_lookup import read_network
from pipeline.train.run_record import RunRecord


@dataclass(frozen=True)
class EvaluationJob:
    """The model, the data set and the slicings of an evaluation; every step of the pipeline has a copy."""

    workspace: Place
    dataset: Place
    manifest: Manifest  # without shards, which are the elements
    run: RunRecord
    slicings: Slicings

    @property
    def run_folder(self) -> Place:
        """The run's folder."""
        return self.workspace / "runs" / self.run.run_id

    @property
    def names(self) -> Names:
        """Names of the classes and of the data set's parts."""
        parts = tuple(part.dataset_id for part in self.manifest.parts)
        return Names(self.manifest.class_names, parts or (self.manifest.dataset_id,))


@dataclass(frozen=True)
class Shard:
    """A shard to evaluate."""

    split: str
    info: ShardInfo


@dataclass(frozen=True)
class ShardPredictions:
    """The network's outputs for the examples of a shard, sorted by their position in the source."""

    shard: Shard
    examples: PredictedExamples
    losses: npt.NDArray[np.float32]  # float32[n]
    ranges: tuple[ActivationRange, ...]  # of each hidden layer, over these examples


def list_shards(manifest: Manifest) -> list[Shard]:
    """Return every shard that has examples."""
    pairs = ((name, shard) for name, split in manifest.splits.items() for shard in split.shards)
    return [Shard(name, shard) for name, shard in pairs if shard.num_examples]


def predict_shard(shard: Shard, job: EvaluationJob) -> ShardPredictions:
    """Read and verify a shard and run the network on it; raises CorruptArtefact."""
    manifest = job.manifest
    stored = read_shard(job.dataset, manifest, shard.split, shard.info)
    indices, images, labels = stored.take(np.argsort(stored.indices).astype(np.int64))
    network = load_network(job)
    targets = np.eye(len(manifest.class_names), dtype=np.float32)[labels]
    with same_everywhere():
        found = [_run_forward(network, images[rows]) for rows in piece_rows(network.layers, len(images))]
        z = np.concatenate([z for z, _ in found])
        outputs = network.output(z)
        losses = network.loss(z, targets)
    squares = images.reshape(-1, manifest.height, manifest.width)
    examples = PredictedExamples(squares, labels, indices, outputs, shard.info.part or 0)
    return ShardPredictions(shard, examples, losses, merge_ranges(ranges for _, ranges in found))


def _run_forward(network: Inference, images: Bytes) -> tuple[Floats, tuple[ActivationRange, ...]]:
    """Return the last layer's weighted input, and the range of each hidden layer; the layers' values are freed."""
    hidden, z = network.forward(images)
    return z, tuple(ActivationRange(a.min(axis=0), a.max(axis=0)) for a in hidden)


def load_network(job: EvaluationJob) -> Inference:
    """Read and verify the network of the run; raises CorruptArtefact."""
    return _load(job.run_folder, job.run.parameters, job.run.config)


_load = cache(read_network)  # a worker process reads the file once, not for each shard
