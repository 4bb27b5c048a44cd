"""The TensorBoard log of a run, read back by TensorBoard's own reader."""

import shutil

import pytest

from model.recipes import find_recipe, override
from pipeline.context import StageContext, StageLog
from pipeline.preprocess.dataset import check_dataset
from pipeline.train.checkpoint_policy import CheckpointPolicy
from pipeline.train.stage import train_stage
from tests.helpers import Digits, contents, run_in_process


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """The events of a run that misclassifies some test examples, and the JSON result of the command."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path_factory.mktemp("board")
    digits = Digits(num_train=60, num_test=40).write(folder / "digits")
    arguments = ["--workspace", folder / "ws", "--dataset", digits, "--num-steps", 3, "--tensorboard", "--json"]
    done = run_in_process("run", *arguments)
    assert done.code == 0, done.err
    events = EventAccumulator(str(next((folder / "ws" / "runs").glob("*/tensorboard"))), size_guidance={"tensors": 0})
    return events.Reload(), done.json


def values(events, tag):
    from tensorboard.util.tensor_util import make_ndarray

    return [(event.step, make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]


def test_loss_and_accuracy_are_logged_at_every_report(logged):
    events, result = logged
    accuracy = values(events, "accuracy of the first test examples")
    assert [step for step, _ in accuracy] == [0, 3]
    assert accuracy[-1][1] == pytest.approx(result["test"]["accuracy"])
    assert [step for step, _ in values(events, "loss")] == [3]


def test_histograms_of_every_layer_are_logged(logged):
    events, _ = logged
    for layer, sizes in enumerate([(30 * 20, 30), (3 * 30, 3)], 1):
        for name, size in zip(("weights", "biases"), sizes, strict=True):
            histograms = values(events, f"layer {layer}/{name}")
            assert [step for step, _ in histograms] == [0, 3]
            assert all(buckets[:, 2].sum() == size for _, buckets in histograms)


def test_mistakes_are_logged_as_images_with_captions(logged):
    events, result = logged
    wrong = result["test"]["num_examples"] - result["test"]["num_correct"]
    assert wrong > 0, "the test needs a run that misclassifies an example"
    [(step, images)] = values(events, "mistakes")
    width, height, *encoded = images
    assert (step, int(width), int(height), len(encoded)) == (3, 4, 5, min(32, wrong))
    assert all(bytes(image).startswith(b"\x89PNG") for image in encoded)
    described = events.SummaryMetadata("mistakes").summary_description
    assert described.count("taken for") == len(encoded)


def test_graph_of_a_step_is_logged(logged):
    events, _ = logged
    kinds = [node.op for node in events.Graph().node]
    assert kinds.count("MatMul") == 5  # two forward, two for gradients of weights, one back to the hidden layer
    assert "Sub" in kinds  # a - y


@pytest.mark.thorough
def test_run_without_a_log_gets_one_later(seeds_run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    workspace = shutil.copytree(seeds_run, tmp_path / "ws")
    [dataset] = workspace.glob("datasets/*/manifest.json")
    context = StageContext(workspace, (), device="cpu")
    data = check_dataset(dataset.parent)
    config = override(find_recipe("article-manual").config, num_steps=20)
    [run] = train_stage(context, data, [config], True, CheckpointPolicy(), StageLog())
    [folder] = workspace.glob("runs/*/tensorboard")
    assert folder.parent.name == run.run_id
    before = contents(folder)
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    accuracy = values(events, "accuracy of the first test examples")
    assert [step for step, _ in accuracy] == [0, 20]
    assert [step for step, _ in values(events, "layer 2/biases")] == [20]
    assert "Sub" in [node.op for node in events.Graph().node]
    train_stage(context, data, [config], True, CheckpointPolicy(), StageLog())
    assert contents(folder) == before
