from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from model import inference
from model.examples import Examples
from model.inference import Inference, StoredLayer, build_inference
from model.recipes import RECIPES, override
from pipeline.evaluate import shard_predictions
from pipeline.evaluate.shard_predictions import Shard, predict_shard

CONFIG = override(RECIPES["article-manual"].config, layers=(4, 5, 6, 3))
SHARD = Shard("test", SimpleNamespace(part=None))


@pytest.fixture
def job(monkeypatch):
    """An evaluation of a network without training on a shard of seven examples."""
    images = np.random.default_rng(1).integers(0, 256, (7, 4), np.uint8)
    examples = Examples(np.array([3, 1, 2, 0, 6, 5, 4]), images, np.arange(7) % 3)
    monkeypatch.setattr(shard_predictions, "read_shard", lambda *place: examples)
    random = np.random.default_rng(2)
    sizes = pairwise(CONFIG.layers)
    layers = [StoredLayer(*map(np.float32, (random.normal(size=(n, m)), random.normal(size=n)))) for m, n in sizes]
    network = build_inference(layers, CONFIG.activation, CONFIG.output, CONFIG.loss)
    monkeypatch.setattr(shard_predictions, "load_network", lambda job: network)
    manifest = SimpleNamespace(class_names=("a", "b", "c"), height=2, width=2)
    return SimpleNamespace(dataset=None, manifest=manifest, run=SimpleNamespace(config=CONFIG))


def test_predictions_of_a_shard_do_not_depend_on_the_pieces(job, monkeypatch):
    whole = predict_shard(SHARD, job)
    monkeypatch.setattr(inference, "PIECE_BYTES", 3 * sum(CONFIG.layers) * 4)
    seen = []

    def forward_few(network, images):
        seen.append(len(images))
        return forward(network, images)

    forward = Inference.forward
    monkeypatch.setattr(Inference, "forward", forward_few)
    pieces = predict_shard(SHARD, job)
    assert seen == [3, 3, 1]
    assert pieces.examples.indices.tolist() == list(range(7))
    np.testing.assert_allclose(pieces.examples.outputs, whole.examples.outputs, rtol=1e-6)
    np.testing.assert_allclose(pieces.losses, whole.losses, rtol=1e-6)
    assert [len(layer.low) for layer in pieces.ranges] == [5, 6]
    np.testing.assert_allclose(np.concatenate(pieces.ranges, 1), np.concatenate(whole.ranges, 1), rtol=1e-6)
