"""Slicings of a user, by the real command."""

import os
from pathlib import Path

import pandas as pd
import pytest

from model.errors import BadUsage
from pipeline.evaluate.evaluation_record import EvaluationRecord, SplitResult
from pipeline.evaluate.slice_config import describe_slicings, find_new_slicings, resolve_slicings
from pipeline.evaluate.slices import SLICINGS, Slicing
from tests.helpers import run_in_process

MODULE = """
import numpy as np
from backbeam.slices import Slice, Slicing

def thin(examples):
    return (examples.images > 127).sum(axis=(1, 2)) < 10

def short(examples):
    return thin(examples)[1:]

def name(histogram, names):
    return [Slice(f"{names.classes[key]}, as it is", (key,)) for key in histogram]

named = Slicing(lambda examples: examples.labels, name)
number = 7
"""


@pytest.fixture
def place(tmp_path, digits_folder, monkeypatch):
    """Options for a run; the module of slicings can be imported here and by workers."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "my_slices.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    return ("--workspace", tmp_path / "ws", "--dataset", digits_folder, "--num-steps", "20", "--num-shards", "3")


@pytest.mark.thorough
def test_slices_of_a_users_slicings(tmp_path, place):
    (tmp_path / "run.toml").write_text('[slices]\nthin = "my_slices:thin"\n')
    options = ("--config", tmp_path / "run.toml", "--slice", "as-named=my_slices:named")
    done = run_in_process("run", *place, *options)
    assert done.code == 0, done.err
    slices = pd.read_parquet(tmp_path / "ws" / "reports" / "slices")
    found = slices[slices["split"] == "train"].set_index(["slicing", "position"])
    assert set(slices["slicing"]) == {"class", "ink", "confidence", "part", "thin", "as-named"}
    assert found.loc["as-named", "slice"].tolist() == ["0, as it is", "1, as it is", "2, as it is"]
    assert set(found.loc["thin", "slice"]) <= {"0", "1"}
    sizes = slices.groupby(["split", "slicing"])["num_examples"].sum()
    assert set(sizes["test"]) == {20}
    assert set(sizes["train"]) == {60}
    next((tmp_path / "ws").rglob("evaluation.json")).unlink()
    several = run_in_process("evaluate", *place[:2], *options, "--workers", 2)
    assert several.code == 0, several.err
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "ws" / "reports" / "slices"), slices)


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("thin=my_slices:gone", "slicing thin (my_slices:gone) cannot be imported: AttributeError"),
        ("thin=no_such:thin", "cannot be imported: ModuleNotFoundError: No module named 'no_such'"),
        ("thin=my_slices:number", "is neither a function nor a backbeam.slices.Slicing"),
        ("thin=my_slices", "expected MODULE:FUNCTION, such as my_slices:thin; found 'my_slices'"),
        ("thin", "expected MODULE:FUNCTION"),
        ("class=my_slices:thin", "class, ink, confidence, part are there already"),
        ("a b=my_slices:thin", "found 'a b'"),
    ],
)
def test_invalid_slicing_option_is_a_usage_error(option, problem, tmp_path, place):
    refused = run_in_process("run", *place, "--slice", option)
    assert (refused.code, refused.out) == (2, "")
    assert problem in refused.err
    assert not (tmp_path / "ws").exists()


def record_of(**places):
    numbers = {"num_examples": 1, "num_correct": 1, "first_1000_examples": 1, "first_1000_correct": 1}
    measures = dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "loss", "ece", "brier"), 0.0)
    result = SplitResult(split="test", never_predicted=(), **numbers, **measures)
    return EvaluationRecord(
        run_id="a-run", dataset_digest="0" * 64, model_digest="0" * 64, results=(result,), slicings=places, tables=()
    )


BUILT_IN = {"class": "class", "ink": "ink", "confidence": "confidence", "part": "part"}
OF_RELEASE_0_2 = {"class": "label_of", "ink": "ink_of", "confidence": "confidence_of", "part": "part_of"}


def test_built_in_slicings_are_recorded_by_name_and_others_by_module_and_name():
    assert describe_slicings(resolve_slicings({}, [])) == BUILT_IN
    assert describe_slicings({"mine": Slicing(os.getpid)}) == {"mine": "posix:getpid"}


def test_records_that_name_modules_of_backbeam_are_accepted():
    earlier = {name: f"pipeline.evaluate.slices:{function}" for name, function in OF_RELEASE_0_2.items()}
    for places in (earlier, BUILT_IN):
        assert find_new_slicings(record_of(**places), resolve_slicings({}, []), Path("a-run")) == {}
    assert set(find_new_slicings(record_of(**{"class": "class"}), SLICINGS, Path("a-run"))) == {
        "ink",
        "confidence",
        "part",
    }


def test_another_slicing_of_a_recorded_name_is_a_usage_error():
    record = record_of(**BUILT_IN, mine="os:getpid")
    assert find_new_slicings(record, {"mine": "os:getpid"}, Path("a-run")) == {}
    with pytest.raises(BadUsage, match=r"with another slicing mine \(os:getpid\).* delete a-run/evaluation.json"):
        find_new_slicings(record, {"mine": "os:getppid"}, Path("a-run"))
