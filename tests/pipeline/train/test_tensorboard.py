"""What TensorBoard is given, read back from its files by its own reader."""

import pytest

from tests.helpers import Digits, backbeam


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """The events of a run that gets some test digits wrong."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path_factory.mktemp("board")
    digits = Digits(num_train=60, num_test=40).write(folder / "digits")
    arguments = ["--workspace", folder / "ws", "--dataset", digits, "--num-steps", 3, "--tensorboard", "--json"]
    done = backbeam("run", *arguments)
    assert done.code == 0, done.err
    events = EventAccumulator(str(next((folder / "ws" / "runs").glob("*/tensorboard"))), size_guidance={"tensors": 0})
    return events.Reload(), done.json


def values(events, tag):
    from tensorboard.util.tensor_util import make_ndarray

    return [(event.step, make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]


def test_scalars(logged):
    events, result = logged
    accuracy = values(events, "accuracy of the first test examples")
    assert [step for step, _ in accuracy] == [0, 3]
    assert accuracy[-1][1] == pytest.approx(result["test"]["accuracy"])
    assert [step for step, _ in values(events, "loss")] == [3]


def test_histograms_of_every_layer(logged):
    events, _ = logged
    for layer, sizes in enumerate([(30 * 20, 30), (3 * 30, 3)], 1):
        for name, size in zip(("weights", "biases"), sizes, strict=True):
            found = values(events, f"layer {layer}/{name}")
            assert [step for step, _ in found] == [0, 3]
            assert all(buckets[:, 2].sum() == size for _, buckets in found)


def test_mistakes_are_pictures(logged):
    events, result = logged
    wrong = result["test"]["num_examples"] - result["test"]["num_correct"]
    assert wrong > 0, "the test needs a run that makes mistakes"
    [(step, pictures)] = values(events, "mistakes")
    width, height, *encoded = pictures
    assert (step, int(width), int(height), len(encoded)) == (3, 4, 5, min(32, wrong))
    assert all(bytes(picture).startswith(b"\x89PNG") for picture in encoded)
    described = events.SummaryMetadata("mistakes").summary_description
    assert described.count("taken for") == len(encoded)


def test_the_graph_of_a_step(logged):
    events, _ = logged
    kinds = [node.op for node in events.Graph().node]
    assert kinds.count("MatMul") == 5  # two forward, two of the gradients, one back to the hidden layer
    assert "Sub" in kinds  # the difference
