"""Making a run again from its sources, by the real command."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from pipeline.storage.files import digest_of
from pipeline.train.run_record import RUN_NAME, load_run
from tests.helpers import Digits, backbeam, contents


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    options = ("--num-shards", 2, "--num-steps", 20, "--seed", 3)
    done = backbeam("run", "--workspace", folder / "ws", "--dataset", Digits().write(folder / "digits"), *options)
    assert done.code == 0, done.err
    return folder


def reproduce(workspace, *arguments):
    return backbeam("reproduce", "--workspace", workspace, "--json", *arguments)


def rewrite(folder: Path, **changes: object) -> None:
    """Write a run's record with other values, as another machine would have written it."""
    record = load_run(folder).model_copy(update=changes)
    (folder / RUN_NAME).write_bytes(record.to_json())


def test_a_run_comes_out_equal_and_nothing_is_touched(made):
    before = contents(made / "ws")
    done = reproduce(made / "ws")
    assert done.code == 0, done.err
    assert (done.json["equal"], done.json["conditions"]) == (True, {})
    assert {each["verdict"] for each in done.json["artefacts"]} == {"equal"}
    names = " ".join(each["artefact"] for each in done.json["artefacts"])
    for part in ("train-00001-of-00002.tfrecord", "manifest.json", "parameters", "learning_curve", "figures of test"):
        assert part in names
    assert contents(made / "ws") == before
    assert "all equal" in backbeam("reproduce", "--workspace", made / "ws").out


def test_what_came_out_different_and_which_condition_is_another(made, tmp_path):
    workspace = shutil.copytree(made / "ws", tmp_path / "ws")
    [folder] = workspace.glob("runs/*")
    data = (folder / "parameters.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    tensors = {name: np.array(value) for name, value in load(data).items()}
    tensors["layers.0.biases"][0] += 0.25
    changed = save(tensors, json.loads(data[8 : 8 + size])["__metadata__"])
    (folder / "parameters.safetensors").write_bytes(changed)
    run = load_run(folder)
    parameters = run.parameters.model_copy(update={"sha256": digest_of(changed), "num_bytes": len(changed)})
    conditions = run.conditions.model_copy(update={"xla_flags": "--xla_other=true"})
    rewrite(folder, parameters=parameters, conditions=conditions, versions=run.versions | {"numpy": "1.0"})
    (folder / "evaluation.json").unlink()
    done = reproduce(workspace)
    assert done.code == 1, done.err
    [different] = [each for each in done.json["artefacts"] if each["verdict"] == "different"]
    assert (different["artefact"], different["detail"]) == ("parameters", "the largest absolute difference is 0.25")
    assert set(done.json["conditions"]) == {"numpy", "xla_flags"}
    assert done.json["conditions"]["numpy"]["then"] == "1.0"


def test_sources_that_moved_are_named_and_others_refused(made, tmp_path):
    moved = shutil.copytree(made, tmp_path / "made")
    origin = next(moved.glob("ws/origins/*.json"))
    assert str(made / "digits") in origin.read_text()
    (moved / "digits").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").rename(tmp_path / "digits")
    assert reproduce(moved / "ws", "--dataset", tmp_path / "digits").json["equal"]
    other = Digits(seed=9).write(tmp_path / "other" / "digits")
    done = reproduce(moved / "ws", "--dataset", other)
    assert (done.code, done.out) == (3, "")
    assert "is no longer what" in done.err


def test_the_record_holds_what_determines_the_result(made):
    [folder] = (made / "ws" / "runs").glob("*")
    record = json.loads((folder / "run.json").read_bytes())
    assert {"dataset_digest", "config", "device", "versions", "conditions"} <= set(record)
    assert record["config"]["seed"] == 3
    names = {"code_digest", "machine", "num_processors", "inter_op_threads", "intra_op_threads", "xla_flags"}
    assert set(record["conditions"]) == names
    assert "xla_cpu_multi_thread_eigen=false" in record["conditions"]["xla_flags"]
