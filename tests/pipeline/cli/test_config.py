import re
import time
import tracemalloc

import pytest

from model.errors import BadUsage
from model.recipes import RECIPES
from pipeline.cli.config import parse_layers, parse_size, read_tables, resolve_evaluation, resolve_training
from pipeline.evaluate.seeds import parse_seeds


def write_config(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_flags_override_file_and_file_overrides_recipe(tmp_path):
    file = write_config(
        tmp_path, '[training]\nrecipe = "nielsen-100"\nlayers = [784, 60, 10]\nseed = 5\nnum_epochs = 2\n'
    )
    config = resolve_training(file, {"seed": 7, "step": None, "recipe": None})
    expected = {"layers": (784, 60, 10), "seed": 7, "num_epochs": 2.0}
    assert config == RECIPES["nielsen-100"].config.model_copy(update=expected)
    assert resolve_training(None, {"recipe": None}) == RECIPES["article-manual"].config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[trainin]\n", r"no such table: 'trainin' \(did you mean 'training'\?\)"),
        ("training = 3\n", "training is no table"),
        ("[training]\nmomentun = 0.5\n", r"no such setting: 'momentun' \(did you mean 'momentum'\?\)"),
        ("[training]\nmomentum = 'much'\n", "momentum: "),
        ("[training]\nrecipe = 'modem'\n", r"unknown recipe 'modem' \(did you mean 'modern'\?\)"),
        ("[training\n", "run.toml"),
        (b"\xff\xfe", "run.toml"),
    ],
)
def test_invalid_configuration_is_rejected(text, message, tmp_path):
    with pytest.raises(BadUsage, match=message):
        resolve_training(write_config(tmp_path, text), {})


PART = "a."
OUT_OF_RANGE = {  # tests/model/test_recipes.py tries more of those of training
    "training": {
        "recipe": ['"' + "x" * 60_000 + '"'],
        "layers": ["[784, 1000000000, 10]", "[784, 0, 10]", "[784]", "[" + "1," * 101 + "]"],
        "num_steps": ["-1", "9223372036854775808", "nan", '"' + "9" * 5000 + '"'],
        "num_epochs": ["0", "-1.0", "1e308", "inf", "nan", "1.1e9"],
        "weights_rate": ["0.0", "-1.0", "1e308", "inf", "nan", "1.1e9"],
        "biases_rate": ["0.0", "-1.0", "1e308", "inf", "nan", "1.1e9"],
        "weight_decay": ["-0.1", "1.1e9", "inf", "nan"],
    },
    "validation.duplicates": {
        "threshold": ["-1.1e12", "1.1e12", "inf", "nan", "9000000000000000000"],
        "warning_threshold": ["-1.1e12", "1.1e12", "-inf", "nan"],
    },
    "promotion": {
        "minimum_accuracy": ["-0.1", "1.1", "inf", "nan"],
        "minimum_gain": ["-1.1", "1.1", "inf", "nan"],
        "significance": ["0.0", "1.1", "inf", "nan"],
        "largest_class_loss": ["-0.1", "1.1", "inf", "nan"],
        "reference": ['""', '"' + "x" * 201 + '"'],
    },
    "slices": {"mine": ['"' + "x" * 300 + ':y"', "inf"]},
}


RANGES = [(table, *row) for table, rows in OUT_OF_RANGE.items() for row in rows.items()]


@pytest.mark.parametrize(("table", "name", "values"), RANGES, ids=lambda text: text if isinstance(text, str) else "")
def test_value_out_of_range_is_rejected_in_short_message(table, name, values, tmp_path):
    for value in values:
        file = write_config(tmp_path, f"[{table}]\n{name} = {value}\n")
        with pytest.raises(BadUsage) as error:
            resolve_evaluation(file, None) if table == "slices" else resolve_training(file, {})
        assert re.search(rf"\b{name}\b", str(error.value).replace(str(file), ""))
        assert len(str(error.value)) < 600


@pytest.mark.parametrize("name", ["training", "validation", "promotion", ""])
def test_long_setting_name_is_rejected_in_short_message(name, tmp_path):
    table = f"[{name}]\n" if name else ""
    with pytest.raises(BadUsage, match="no such") as error:
        resolve_training(write_config(tmp_path, f"{table}{'x' * 60_000} = 1\n"), {})
    assert len(str(error.value)) < 600


BOMBS = {
    "key": PART * 25_000 + "a = 1",
    "quoted key": '"a".' * 10_000 + "a = 1",
    "table": f"[{PART * 25_000}a]",
    "key in an inline table behind a string": 'x = ["""y"""", {' + PART * 25_000 + 'a = 1}, "z"]',
    "key behind a literal string": "x = ['''y'''', {" + PART * 25_000 + "a = 1}, 'z']",
    "arrays": "a = " + "[" * 30_000,
    "inline tables": "{a = ".join(["a = ", *[""] * 10_000]),
    "decimal integer": "a = " + "9" * 60_000,
    "hexadecimal integer": "a = 0x" + "f" * 60_000,
    "string without an end": 'a = "' + '\\"' * 30_000,
    "large file": "# more than 64 KiB\n" * 4_000,
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS.keys())
def test_file_that_takes_excessive_memory_or_time_is_rejected(text, tmp_path):
    file = write_config(tmp_path, text)
    started = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(BadUsage, match=r"run\.toml") as error:
            resolve_training(file, {})
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 5
    assert len(str(error.value)) < 500
    if text.count(".") > 1000:
        assert "more than 100 dots in line 1, which is no configuration" in str(error.value)


def test_missing_configuration_is_rejected(tmp_path):
    for file in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(BadUsage, match=f"no configuration file {file}"):
            resolve_training(file, {})


def test_dots_and_brackets_in_strings_and_comments_are_allowed(tmp_path):
    dots = "." * 200 + "[{" * 50
    multiline = f"c = \"\"\"{dots}\n\" {dots}\"\"\"  # \" {dots}\nd = '''{dots} '' {dots}'''\n"
    text = f'# {dots}\n[slices]  # {dots}\na = "{dots} \\" {dots}"\nb = \'{dots} " \'\n{multiline}'
    assert set(read_tables(write_config(tmp_path, text))["slices"]) == set("abcd")


@pytest.mark.parametrize(
    ("parse", "texts", "message"),
    [
        (
            parse_layers,
            ["", "784-30", "7_8_4,30,10", "784,\u0663\u0660,10", "784,30,10\n", "9" * 5000],
            "--layers takes sizes",
        ),
        (
            parse_size,
            ["28", "0x28", "28x", "\u0662x28", "2\u0668x28", "28x28\n"],
            "--image-size takes a height and a width",
        ),
    ],
)
def test_sizes_of_another_form_are_rejected(parse, texts, message):
    for text in texts:
        with pytest.raises(BadUsage, match=message):
            parse(text)


def test_long_flag_values_are_rejected_in_short_messages():
    for parse in (parse_layers, parse_size, parse_seeds):
        with pytest.raises(BadUsage) as error:
            parse("1," * 5_000 + "x")
        assert len(str(error.value)) < 400
