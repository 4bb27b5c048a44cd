"""Read from a workspace what tells why a run learned little; `learning_problems` draws the conclusions."""

from itertools import pairwise

import numpy as np

from model.examples import Bytes
from model.inference import same_everywhere
from pipeline.evaluate.evaluation_record import EvaluationRecord
from pipeline.evaluate.learning_problems import (
    Floats,
    LearningEvidence,
    LearningProblem,
    find_problems,
    has_learned_little,
)
from pipeline.preprocess.dataset import Dataset, load_dataset
from pipeline.preprocess.shards import read_shard
from pipeline.storage.places import Place
from pipeline.train.run_lookup import load_dataset_of, read_network
from pipeline.train.run_record import RunRecord

MOST_EXAMPLES = 1000  # of a sample: what 5 % of all examples do is seen in it
LEAST_EXAMPLES = 50  # of fewer, little can be said about all
MOST_VALUES = 2**26  # of all layers for the sample, 256 MiB
MOST_PRODUCTS = 2**33  # about a second of a core


def sample_size(sizes: tuple[int, ...]) -> int:
    """Return the number of examples to run a network of these layer sizes on; 0 if it is too large for a sample."""
    num_parameters = sum(inputs * outputs for inputs, outputs in pairwise(sizes))
    size = min(MOST_EXAMPLES, MOST_VALUES // sum(sizes), MOST_PRODUCTS // num_parameters)
    return size if size >= LEAST_EXAMPLES else 0


def find_learning_problems(workspace: Place, run: RunRecord, evaluation: EvaluationRecord) -> list[LearningProblem]:
    """Return what an evaluated run did not learn and, if it learned little, why.

    Tables are read only if the records do not show that it learned well, shards and parameters only if it learned
    little. Raises CorruptArtefact if a file does not verify.
    """
    dataset = load_dataset_of(workspace, run, load_dataset)
    test = evaluation.test_result()
    learned_little = has_learned_little(test.num_correct, dataset.manifest.splits["test"].class_counts)
    if not learned_little and not test.never_predicted:
        return []
    return find_problems(_read_evidence(workspace, run, evaluation, dataset, learned_little))


def _read_evidence(
    workspace: Place, run: RunRecord, evaluation: EvaluationRecord, dataset: Dataset, learned_little: bool
) -> LearningEvidence:
    from pipeline.evaluate.table_reader import read_rows  # which imports more of pyarrow

    curve = [row for row in read_rows(workspace, "learning_curve", run.run_id).to_pylist() if row["step"]]
    confusion = np.zeros((len(dataset.manifest.class_names),) * 2, np.int64)
    for row in read_rows(workspace, "confusion", run.run_id).to_pylist():
        if row["split"] == "test":
            confusion[row["label"], row["predicted"]] = row["count"]
    return LearningEvidence(
        config=run.config,
        steps=[row["step"] for row in curve],
        losses=[row["loss"] for row in curve],
        final_loss=next(result.loss for result in evaluation.results if result.split == "train"),
        confusion=confusion,
        train_counts=np.array(dataset.manifest.splits["train"].class_counts),
        class_names=dataset.manifest.class_names,
        hidden=_read_hidden(workspace, run, dataset) if learned_little else (),
    )


def _read_hidden(workspace: Place, run: RunRecord, dataset: Dataset) -> list[Floats]:
    """Return the values of the hidden layers for a sample of the test split; empty if that would take too long."""
    num_examples = sample_size(run.config.layers)
    if not num_examples or len(run.config.layers) < 3:
        return []
    network = read_network(workspace / "runs" / run.run_id, run.parameters, run.config)
    with same_everywhere():
        return network.forward(_read_sample(dataset, num_examples))[0]


def _read_sample(dataset: Dataset, num_examples: int) -> Bytes:
    """Return images of the first shards of the test split, uint8[n, pixels]; the order of shards is random already."""
    parts = [np.empty((0, dataset.manifest.num_pixels), np.uint8)]
    for shard in dataset.manifest.splits["test"].shards:
        if sum(map(len, parts)) >= num_examples:
            break
        parts.append(read_shard(dataset.folder, dataset.manifest, "test", shard).images)
    return np.concatenate(parts)[:num_examples]
