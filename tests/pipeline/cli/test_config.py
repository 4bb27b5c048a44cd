import contextlib
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BadUsage
from model.recipes import RECIPES, TrainingConfig
from pipeline.cli.config import parse_layers, parse_size, read_slices, resolve_training
from pipeline.evaluate.seeds import parse_seeds
from pipeline.evaluate.slice_config import resolve_slicings
from pipeline.preprocess.validation_config import CheckSettings
from pipeline.registry.policy import Policy


def write(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_flags_change_the_file_changes_the_recipe(tmp_path):
    file = write(tmp_path, '[training]\nrecipe = "nielsen-100"\nlayers = [784, 60, 10]\nseed = 5\nnum_epochs = 2\n')
    found = resolve_training(file, {"seed": 7, "step": None, "recipe": None})
    expected = {"layers": (784, 60, 10), "seed": 7, "num_epochs": 2.0}
    assert found == RECIPES["nielsen-100"].config.model_copy(update=expected)


def test_replicas_are_a_setting_like_any_other(tmp_path):
    file = write(tmp_path, "[training]\nnum_replicas = 5\n")
    assert resolve_training(file, {}).num_replicas == 5
    assert resolve_training(file, {"num_replicas": 2}).num_replicas == 2
    with pytest.raises(BadUsage, match="num_replicas 3 does not divide batch_size 10"):
        resolve_training(file, {"num_replicas": 3})


def test_without_anything_it_is_the_articles_manual_rule():
    assert resolve_training(None, {"recipe": None}) == RECIPES["article-manual"].config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[trainin]\n", r"no such table: \[trainin\] \(did you mean 'training'\?\)"),
        ("training = 3\n", "training is no table"),
        ("[training]\nmomentun = 0.5\n", r"no such setting: 'momentun' \(did you mean 'momentum'\?\)"),
        ("[training]\nmomentum = 1.5\n", "momentum: "),
        ("[training]\nmomentum = 'much'\n", "momentum: "),
        ("[training]\nwindow_mib = 0\n", "window_mib: "),
        ("[training]\nrecipe = 'modem'\n", r"unknown recipe 'modem' \(did you mean 'modern'\?\)"),
        ("[training\n", "run.toml"),
        (b"\xff\xfe", "run.toml"),
    ],
)
def test_what_is_refused(text, message, tmp_path):
    with pytest.raises(BadUsage, match=message):
        resolve_training(write(tmp_path, text), {})


PART = "a."
BEYOND = {
    "training": {
        "recipe": ['"' + "x" * 60_000 + '"'],
        "layers": ["[784, 1000000000, 10]", "[784, 0, 10]", "[784]", "[" + "1," * 101 + "]"],
        "batch_size": ["0", "-1", "2147483648", "inf"],
        "num_steps": ["-1", "9223372036854775808", "nan", '"' + "9" * 5000 + '"'],
        "num_epochs": ["0", "-1.0", "1e308", "inf", "nan", "1.1e9"],
        "weights_rate": ["0.0", "-1.0", "1e308", "inf", "nan", "1.1e9"],
        "biases_rate": ["0.0", "-1.0", "1e308", "inf", "nan", "1.1e9"],
        "momentum": ["-0.1", "1.0", "inf", "nan"],
        "weight_decay": ["-0.1", "1.1e9", "inf", "nan"],
        "dropout": ["-0.1", "1.0", "inf", "nan"],
        "window_mib": ["0", "-1", "1073741825", "inf"],
        "seed": ["-1", "2147483648", "nan"],
        "num_replicas": ["0", "-1", "1025"],
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


def test_every_setting_that_is_a_number_or_a_text_has_a_range():
    chosen = {"step", "activation", "output", "loss", "start", "schedule", "warm_start"}
    assert set(BEYOND["training"]) == set(TrainingConfig.model_fields) - chosen
    assert set(BEYOND["validation.duplicates"]) == set(CheckSettings.model_fields) - {"severity"}
    assert set(BEYOND["promotion"]) == set(Policy.model_fields)


@pytest.mark.parametrize(
    ("table", "name", "value"),
    [(table, name, value) for table in BEYOND for name in BEYOND[table] for value in BEYOND[table][name]],
    ids=lambda text: text[:30],
)
def test_a_value_beyond_its_range_is_refused_in_a_short_message(table, name, value, tmp_path):
    file = write(tmp_path, f"[{table}]\n{name} = {value}\n")
    with pytest.raises(BadUsage, match=f"{name}|mine|run.toml") as refused:
        resolve_slicings(read_slices(file), ()) if table == "slices" else resolve_training(file, {})
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("name", ["training", "validation", "promotion", ""])
def test_a_long_name_of_a_setting_is_refused_in_a_short_message(name, tmp_path):
    table = f"[{name}]\n" if name else ""
    with pytest.raises(BadUsage, match="no such") as refused:
        resolve_training(write(tmp_path, f"{table}{'x' * 60_000} = 1\n"), {})
    assert len(str(refused.value)) < 600


BOMBS = {
    "key": PART * 25_000 + "a = 1",
    "quoted key": '"a".' * 10_000 + "a = 1",
    "table": f"[{PART * 25_000}a]",
    "array of tables": f"[[{PART * 25_000}a]]",
    "key in an inline table behind a string": 'x = ["""y"""", {' + PART * 25_000 + 'a = 1}, "z"]',
    "key behind a literal string": "x = ['''y'''', {" + PART * 25_000 + "a = 1}, 'z']",
    "arrays": "a = " + "[" * 30_000,
    "inline tables": "{a = ".join(["a = ", *[""] * 10_000]),
    "arrays over lines": "a = " + "[\n" * 30_000,
    "decimal integer": "a = " + "9" * 60_000,
    "hexadecimal integer": "a = 0x" + "f" * 60_000,
    "string without an end": 'a = "' + '\\"' * 30_000,
    "text without an end": 'a = """' + '\\"""' * 15_000,
    "large file": "# more than 64 KiB\n" * 4_000,
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS.keys())
def test_a_file_that_would_take_very_much_memory_or_time_is_refused(text, tmp_path):
    file = write(tmp_path, text)
    started = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(BadUsage, match=r"run\.toml") as refused:
            resolve_training(file, {})
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 5
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("text", [text for text in BOMBS.values() if text.count(".") > 1000])
def test_the_dots_of_a_key_are_counted_before_it_is_parsed(text, tmp_path):
    with pytest.raises(BadUsage, match="more than 100 dots in line 1, which is no configuration"):
        resolve_training(write(tmp_path, text), {})


def test_texts_and_comments_may_hold_any_dots_and_brackets(tmp_path):
    dots = "." * 200 + "[{" * 50
    text = f"""# {dots}
[slices]  # {dots}
a = "{dots} \\" {dots}"
b = '{dots} " '
c = \"\"\"{dots}
" {dots}\"\"\"  # " {dots}
d = '''{dots} '' {dots}'''
"""
    assert set(read_slices(write(tmp_path, text))) == set("abcd")


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    file = write(tmp_path_factory.mktemp("x"), "[training]\n" + text.encode("utf-8", "replace").decode())
    with contextlib.suppress(BadUsage):
        resolve_training(file, {})


def test_layers():
    assert parse_layers("784,30,10") == (784, 30, 10)
    assert parse_layers(None) is None
    with pytest.raises(BadUsage, match="found '784-30'"):
        parse_layers("784-30")


def test_long_texts_of_flags_are_refused_in_short_messages():
    for parse in (parse_layers, parse_size, parse_seeds):
        with pytest.raises(BadUsage) as refused:
            parse("1," * 5_000 + "x")
        assert len(str(refused.value)) < 400


def test_a_flag_in_steps_replaces_the_files_epochs(tmp_path):
    file = write(tmp_path, "[training]\nnum_epochs = 10\n")
    found = resolve_training(file, {"num_steps": 100})
    assert (found.num_steps, found.num_epochs) == (100, None)


@pytest.mark.parametrize("dropout", [1e-6, 0.999999])
def test_dropout_that_would_be_none_or_all(dropout, tmp_path):
    with pytest.raises(BadUsage, match=f"dropout {dropout} is not 0"):
        resolve_training(write(tmp_path, f"[training]\ndropout = {dropout}\n"), {})


def test_a_folder_is_no_configuration(tmp_path):
    with pytest.raises(BadUsage, match="no configuration file"):
        resolve_training(tmp_path, {})
