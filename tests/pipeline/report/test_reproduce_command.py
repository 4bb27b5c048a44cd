"""The command that reproduces a run, built from its records; test_run_page.py runs it."""

import shlex

import pytest

from model.errors import CorruptArtefact
from model.recipes import RECIPES, fit_to_data, override
from pipeline.cli.config import resolve_training
from pipeline.evaluate.evaluated_runs import EvaluatedRun, find_evaluated
from pipeline.preprocess.provenance import Origin, origin_path
from pipeline.report.reproduce_command import CONFIG_FILE, describe_reproduction, format_config

CHANGES = (
    {},
    {"layers": (784, 12, 10), "step": "compare", "window_mib": 7, "weights_rate": 1e-05, "activation": "tanh"},
    {"num_epochs": 2.5, "batch_size": 16, "num_replicas": 2},
    {"stack": 3},
)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("changes", CHANGES)
def test_the_configuration_file_has_the_same_digest(changes, recipe, tmp_path):
    config = fit_to_data(override(RECIPES[recipe].config, **changes), 784, 10, 4000)
    (tmp_path / CONFIG_FILE).write_text(format_config(config))
    assert fit_to_data(resolve_training(tmp_path / CONFIG_FILE, {}), 784, 10, 4000).digest == config.digest


@pytest.fixture(scope="module")
def evaluated(digits_run) -> EvaluatedRun:
    return find_evaluated(digits_run, [])[0]


def test_the_command_has_the_recorded_options_and_slices(evaluated, tmp_path):
    sliced = evaluated.evaluation.model_copy(update={"slicings": {"thin": "my_slices:thin"}})
    origin = Origin(
        dataset_id=evaluated.run.dataset_id,
        datasets=("/data/one", "gs://bucket/two of them"),
        data_dir="/data/mnist",
        num_classes=10,
        num_shards=4,
        shuffle_seed=3,
        max_rejected=2,
        image_column="picture",
        label_column="kind",
        image_size=(28, 20),
        class_names=("b", "a"),
    )
    path = origin_path(tmp_path, origin.dataset_id)
    path.parent.mkdir()
    path.write_bytes(origin.to_json())
    reproduction = describe_reproduction(evaluated._replace(workspace=tmp_path, evaluation=sliced))
    assert shlex.split(reproduction.command) == [
        *("backbeam", "run", "--dataset", "/data/one", "--dataset", "gs://bucket/two of them"),
        *("--data-dir", "/data/mnist", "--num-classes", "10", "--num-shards", "4", "--shuffle-seed", "3"),
        *("--max-rejected", "2", "--image-column", "picture", "--label-column", "kind", "--image-size", "28x20"),
        *("--config", CONFIG_FILE, "--slice", "thin=my_slices:thin"),
    ]
    assert reproduction.settings == format_config(evaluated.run.config)
    assert "the classes b, a, in this order" in reproduction.needs[1]


def test_a_missing_origin_is_reported_and_a_damaged_one_rejected(evaluated, tmp_path):
    reproduction = describe_reproduction(evaluated._replace(workspace=tmp_path))
    assert shlex.split(reproduction.command)[:4] == ["backbeam", "run", "--dataset", "SOURCE"]
    assert f"origins/{evaluated.run.dataset_id}.json" in reproduction.needs[0]
    path = origin_path(tmp_path, evaluated.run.dataset_id)
    path.parent.mkdir()
    path.write_bytes(b"{}")
    with pytest.raises(CorruptArtefact, match="origins"):
        describe_reproduction(evaluated._replace(workspace=tmp_path))
