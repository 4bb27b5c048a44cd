"""`reproduce`, by the real command."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load, save

from pipeline.maintenance.reproduce import _describe_difference
from pipeline.preprocess.dataset import load_dataset
from pipeline.preprocess.manifest import MANIFEST_NAME
from pipeline.storage.files import digest_of
from pipeline.train.run_record import RUN_NAME, load_run
from tests.helpers import Digits, contents, run_in_process


def reproduce(workspace, *arguments):
    return run_in_process("reproduce", "article-manual-seed1", "--workspace", workspace, "--json", *arguments)


def rewrite_record(folder: Path, **changes: object) -> None:
    """Write a run's record with other values, as another machine would have written it."""
    record = load_run(folder).model_copy(update=changes)
    (folder / RUN_NAME).write_bytes(record.to_json())


def test_a_run_is_reproduced_and_its_workspace_is_unchanged(seeds_run):
    before = contents(seeds_run)
    done = reproduce(seeds_run)
    assert done.code == 0, done.err
    assert (done.json["equal"], done.json["conditions"]) == (True, {})
    assert {each["verdict"] for each in done.json["artefacts"]} == {"equal"}
    names = " ".join(each["artefact"] for each in done.json["artefacts"])
    for part in ("train-00001-of-00003.tfrecord", "manifest.json", "parameters", "learning_curve", "figures of test"):
        assert part in names
    assert contents(seeds_run) == before


@pytest.mark.thorough
def test_a_run_of_an_earlier_version_is_reproduced_without_what_it_did_not_keep(seeds_run, tmp_path):
    workspace = shutil.copytree(seeds_run, tmp_path / "ws")
    [folder] = workspace.glob("runs/*seed1*")
    run = load_run(folder)
    tables = tuple(table for table in run.tables if table.table != "layer_statistics")
    rewrite_record(folder, tables=tables, early_parameters=None)
    shutil.rmtree(workspace / "reports" / "layer_statistics")
    done = reproduce(workspace)
    assert done.code == 0, done.err
    assert done.json["equal"]
    assert "layer_statistics" not in done.out


def test_different_artefacts_and_conditions_are_reported(seeds_run, tmp_path):
    workspace = shutil.copytree(seeds_run, tmp_path / "ws")
    [folder] = workspace.glob("runs/*seed1*")
    data = (folder / "parameters.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    tensors = {name: np.array(value) for name, value in load(data).items()}
    tensors["layers.0.biases"][0] += 0.25
    changed = save(tensors, json.loads(data[8 : 8 + size])["__metadata__"])
    (folder / "parameters.safetensors").write_bytes(changed)
    run = load_run(folder)
    parameters = run.parameters.model_copy(update={"sha256": digest_of(changed), "num_bytes": len(changed)})
    conditions = run.conditions.model_copy(update={"xla_flags": "--xla_other=true"})
    rewrite_record(folder, parameters=parameters, conditions=conditions, versions=run.versions | {"numpy": "1.0"})
    (folder / "evaluation.json").unlink()
    done = reproduce(workspace)
    assert done.code == 1, done.err
    [different] = [each for each in done.json["artefacts"] if each["verdict"] == "different"]
    assert (different["artefact"], different["detail"]) == ("parameters", "the largest absolute difference is 0.25")
    assert set(done.json["conditions"]) == {"numpy", "xla_flags"}
    assert done.json["conditions"]["numpy"]["then"] == "1.0"


@pytest.mark.parametrize(("other", "code"), [({}, 0), ({"darkest": 9}, 1)])
@pytest.mark.thorough
def test_conversions_that_are_not_counted_any_more_are_no_difference(other, code, seeds_run, tmp_path):
    workspace = shutil.copytree(seeds_run, tmp_path / "ws")
    [folder] = workspace.glob("datasets/*")
    manifest = load_dataset(folder).manifest
    style = manifest.style.model_copy(update={"conversions": {"palette": 3}, **other})
    changed = manifest.with_style(style)
    (folder / MANIFEST_NAME).write_bytes(changed.to_json())
    [run] = workspace.glob("runs/*seed1*")
    rewrite_record(run, dataset_digest=digest_of(changed.to_json()))
    (run / "evaluation.json").unlink()
    done = reproduce(workspace)
    assert done.code == code, done.err
    [found] = [each for each in done.json["artefacts"] if each["artefact"].endswith(MANIFEST_NAME)]
    assert ("counts of conversions left out: {'palette': 3} then, {} now" in found["detail"]) == (code == 0)


@pytest.mark.thorough
def test_moved_sources_are_accepted_and_other_sources_rejected(seeds_run, tmp_path):
    moved = shutil.copytree(seeds_run.parent, tmp_path / "original")
    origin = next(moved.glob("ws/origins/*.json"))
    assert str(seeds_run.parent / "digits") in origin.read_text()
    (moved / "digits").rename(tmp_path / "other name")
    done = reproduce(moved / "ws", "--dataset", tmp_path / "other name")
    assert done.code == 0, done.err
    assert done.json["equal"]
    other = Digits(seed=9).write(tmp_path / "other" / "digits")
    done = reproduce(moved / "ws", "--dataset", other)
    assert done.code == 3
    assert "is no longer what" in done.err


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.5], "x by up to 0.5"),
        ([[1.0, 2.0], [3.0]], [[1.0, 2.0], [3.25]], "x by up to 0.25"),
        ([[1.0], [3.0]], [[1.0], [3.0, 4.0]], "x"),
        (["a"], ["b"], "x"),
        ([1.0], [1.0], ""),
    ],
)
def test_the_difference_of_a_column_is_told(old, new, expected):
    assert _describe_difference(pa.table({"x": old}), pa.table({"x": new})) == expected
