import pytest
from typer.testing import CliRunner

from model.errors import BadUsage
from model.recipes import RECIPES, TrainingConfig
from pipeline.cli.config import resolve_training
from pipeline.cli.main import app
from pipeline.cli.model_output import format_remarks
from pipeline.evaluate.predict import ImagePrediction
from pipeline.train import memory_check


def test_gradient_check_larger_than_the_memory_is_rejected_though_training_fits(monkeypatch):
    monkeypatch.setattr(memory_check, "memory_bytes", lambda: 20 * 2**30)
    failed = CliRunner().invoke(app, ["gradcheck", "--layers", "784,1048576,10"], obj=()).exception
    assert isinstance(failed, BadUsage)
    assert "a gradient check of layers 784-1048576-10 needs 24.8 GiB" in str(failed)


def test_every_setting_of_every_recipe_is_listed():
    listed = CliRunner().invoke(app, ["recipes"], obj=()).output
    assert "95.42 %" in listed
    lines = listed.splitlines()
    [head] = [number for number, line in enumerate(lines) if line.split() == ["setting", *RECIPES]]
    listed = {line.split()[0] for line in lines[head + 1 :]}
    assert listed == set(TrainingConfig.model_fields) - {"recipe", "warm_start"}


@pytest.mark.parametrize("name", RECIPES)
def test_printed_recipe_is_a_configuration_file_of_the_same_configuration(name, tmp_path):
    text = CliRunner().invoke(app, ["recipes", name], obj=()).output
    assert text.startswith(f"# {RECIPES[name].source}\n")
    file = tmp_path / "run.toml"
    file.write_text(text)
    assert resolve_training(file, {}) == RECIPES[name].config


def test_remarks_take_a_line_a_file():
    pictures = [("a.png", None, ("inverted",)), ("b.png", None, ())]
    rows = [("c.parquet", 0, ()), ("c.parquet", 1, ("inverted", "scaled")), ("c.parquet", 2, ("inverted",))]
    predictions = [
        ImagePrediction(file, index, "7", 0.9, None, None, remarks) for file, index, remarks in (*pictures, *rows)
    ]
    assert format_remarks(predictions) == [
        "predict: a.png: inverted",
        "predict: c.parquet[1]: inverted; scaled; other images of the file have remarks too: 1 (--json lists them)",
    ]
