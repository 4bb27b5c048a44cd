"""The parameters of early steps: which are kept, how they are rounded, and what their file refuses."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from model.errors import CorruptArtefact, UnknownFormat
from model.network import initialise
from model.recipes import RECIPES, fit_to_data, override
from model.tensor_file import encode_tensors
from pipeline.train.early_parameters import (
    EarlyRecord,
    choose_early_steps,
    decode_early,
    encode_early,
    name_early,
    round_to_halves,
)
from pipeline.train.run_lookup import find_model
from tests.helpers import run_in_process

CONFIG = override(fit_to_data(RECIPES["article-manual"].config, 20, 3, 60), layers=(20, 4, 3), num_steps=2000)
LAYERS = round_to_halves(initialise(CONFIG.layers, 1))
PLACE = Path("early.safetensors")


@pytest.mark.parametrize(
    ("num_steps", "layers", "expected"),
    [
        (100, (20, 4, 3), ()),
        (101, (20, 4, 3), (100,)),
        (1000, (20, 4, 3), (100,)),
        (10_000, (784, 30, 10), (100, 1000)),
        (10_000, (784, 100, 10), (100, 1000)),
        (10_000, (784, 512, 512, 10), ()),  # of the recipe modern
        (10_000, (374, 500), (100, 1000)),  # 187,500 parameters
        (10_000, (375, 500), ()),
    ],
)
def test_runs_keep_the_steps_before_their_last_if_the_network_is_not_large(num_steps, layers, expected):
    assert choose_early_steps(override(CONFIG, num_steps=num_steps, layers=layers)) == expected


def test_the_default_run_keeps_them_at_the_steps_100_and_1000(digits_run):
    model = find_model(digits_run, None)
    file = model.run.early_parameters
    assert file.num_bytes < 100_000
    early = decode_early(file.read(model.folder), model.folder / file.name, model.run.config)
    assert list(early) == [100, 1000]
    assert all(np.isfinite(part).all() for layers in early.values() for layer in layers for part in layer)


@pytest.mark.thorough
@pytest.mark.parametrize("num_steps", [100, 1000])
def test_they_are_those_that_a_shorter_run_ends_with(num_steps, digits_run, tmp_path):
    workspace = shutil.copytree(digits_run, tmp_path / "ws")
    done = run_in_process("train", "--workspace", workspace, "--num-steps", num_steps, "--json")
    assert done.code == 0, done.err
    model = find_model(digits_run, None)
    file = model.run.early_parameters
    early = decode_early(file.read(model.folder), model.folder / file.name, model.run.config)
    shorter = next(folder for folder in (workspace / "runs").iterdir() if folder.name != model.run.run_id)
    trained = load((shorter / "parameters.safetensors").read_bytes())
    for number, layer in enumerate(early[num_steps]):
        np.testing.assert_array_equal(layer.weights, trained[f"layers.{number}.weights"].astype(np.float16))
        np.testing.assert_array_equal(layer.biases, trained[f"layers.{number}.biases"].astype(np.float16))


def test_the_file_is_read_back_and_has_the_same_bytes_each_time():
    early = {1000: LAYERS, 100: LAYERS}
    data = encode_early(early, "run")
    assert data == encode_early(dict(reversed(early.items())), "run")
    found = decode_early(data, PLACE, CONFIG)
    assert list(found) == [100, 1000]
    for layers in found.values():
        for layer, expected in zip(layers, LAYERS, strict=True):
            np.testing.assert_array_equal(layer.weights, expected.weights)
            np.testing.assert_array_equal(layer.biases, expected.biases)


@pytest.mark.parametrize(("value", "is_kept"), [(65504.0, True), (-65504.0, True), (1e5, False), (np.nan, False)])
def test_parameters_beyond_the_range_of_16_bits_are_not_kept(value, is_kept):
    layers = [(np.full((2, 3), value, np.float32), np.zeros(2, np.float32))]
    assert (round_to_halves(layers) is not None) == is_kept


@pytest.mark.parametrize("change", ["missing", "other shape", "other type"])
def test_a_file_of_another_network_is_corrupt(change):
    tensors = name_early({100: LAYERS})
    name = "100.layers.1.weights"
    found = tensors.pop(name)
    if change == "other shape":
        tensors[name] = found.T.copy()
    elif change == "other type":
        tensors[name] = found.astype(np.float32)
    data = encode_tensors(tensors, EarlyRecord(run_id="run", steps=(100,)).to_json().decode())
    with pytest.raises(CorruptArtefact, match=r"early\.safetensors does not hold 100\.layers\.1\.weights"):
        decode_early(data, PLACE, CONFIG)


def test_a_file_of_a_later_format_is_refused_as_such():
    later = EarlyRecord(run_id="run", steps=(100,)).model_copy(update={"format_version": 2})
    data = encode_tensors(name_early({100: LAYERS}), later.to_json().decode())
    with pytest.raises(UnknownFormat, match="is sound, and of format version 2"):
        decode_early(data, PLACE, CONFIG)
