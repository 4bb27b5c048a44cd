"""The command that makes a run again, from its records; that it does is seen in test_content.py."""

import shlex

import pytest

from model.recipes import RECIPES, fit_to_data, override
from pipeline.configuration import resolve
from pipeline.lookup import find_model
from pipeline.page.reproduction import CONFIG_FILE, reproduce
from pipeline.runs import EvaluationRecord, check_evaluation

CHANGES = (
    {},
    {"seed": 7},
    {"layers": (784, 12, 10), "step": "compare", "window_mib": 7},
    {"weights_rate": 1e-05, "momentum": 0.25, "activation": "tanh"},
    {"num_epochs": 2.5, "batch_size": 16, "num_replicas": 2},
    {"num_steps": 20},
)


@pytest.fixture(scope="module")
def model(digits_run):
    return find_model(digits_run, None)


@pytest.fixture(scope="module")
def evaluation(digits_run, model) -> EvaluationRecord:
    return check_evaluation(digits_run, model.run)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("changes", CHANGES)
def test_the_configuration_comes_out_again(changes, recipe, model, evaluation, tmp_path):
    config = fit_to_data(override(RECIPES[recipe].config, **changes), 784, 10, 4000)
    made = reproduce(model.run.model_copy(update={"config": config}), evaluation, model.manifest, [model.manifest])
    command = shlex.split(made.command)
    assert command[:4] == ["backbeam", "run", "--dataset", "mnist-5k"]
    options = dict(zip(command[2::2], command[3::2], strict=True))
    assert ("--config" in options) == bool(made.settings) == bool(set(changes) - {"seed"})
    (tmp_path / CONFIG_FILE).write_text(made.settings)
    found = resolve(tmp_path / CONFIG_FILE, {"recipe": options["--recipe"], "seed": int(options["--seed"])})
    assert fit_to_data(found, 784, 10, 4000).digest == config.digest


def test_what_decides_the_data_set_and_the_slices_is_named(model, evaluation):
    config = model.manifest.config.model_copy(update={"seed": 3, "num_shards": 4})
    manifest = model.manifest.model_copy(update={"config": config, "num_rejected": 2})
    sliced = evaluation.model_copy(update={"slicings": evaluation.slicings | {"thin": "my_slices:thin"}})
    command = reproduce(model.run, sliced, manifest, [manifest]).command
    assert "--dataset mnist-5k --num-shards 4 --shuffle-seed 3 --max-rejected 2" in command
    assert command.endswith("--slice thin=my_slices:thin")


def test_a_data_set_is_known_by_its_content_not_by_its_name(model, evaluation):
    sources = tuple(source.model_copy(update={"sha256": "0" * 64}) for source in model.manifest.sources)
    manifest = model.manifest.model_copy(update={"sources": sources})
    made = reproduce(model.run, evaluation, manifest, [manifest])
    assert "--dataset FOLDER/mnist-5k --num-classes 10" in made.command
    assert made.needs[0].startswith(f"FOLDER/mnist-5k stands for the source of {manifest.dataset_id}, whose content")
