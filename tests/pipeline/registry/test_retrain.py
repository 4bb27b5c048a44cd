"""Retraining and the registry by the real commands, on generated digits."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest

from model.errors import BadInput, BadUsage
from model.recipes import WarmStart
from pipeline.context import StageLog
from pipeline.preprocess.dataset import load_dataset
from pipeline.registry import retrain as retraining
from pipeline.registry.history import History, load_history
from pipeline.train.run_record import load_run
from tests.helpers import Digits, contents, images_bytes, run_in_process, write_files

WEAK = ("--num-steps", 10)  # 67 % of the test examples correct
STRONG = ("--num-steps", 300)  # all of them


def digits(**changes) -> Digits:
    return Digits(**({"num_train": 300, "num_test": 300} | changes))


def retrain(folder: Path, *arguments, source: object = None):
    where = ("--workspace", folder / "ws", "--dataset", source or folder / "digits")
    return run_in_process("retrain", *where, "--quiet", "--json", *arguments)


def command(name: str, folder: Path, *arguments):
    return run_in_process(name, *arguments, "--workspace", folder / "ws", "--json")


def promoted(done) -> dict:
    assert done.code == 0, done.err
    assert done.json["outcome"] == "promoted", done.json["reasons"]
    return done.json


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory) -> Path:
    """A folder with `digits` and a workspace `ws` in which a strong champion has replaced a weak one."""
    folder = tmp_path_factory.mktemp("retrained")
    digits().write(folder / "digits")
    promoted(retrain(folder, *WEAK))
    promoted(retrain(folder, *STRONG))
    return folder


@pytest.fixture
def folder(two_versions, tmp_path) -> Path:
    shutil.copytree(two_versions / "ws", tmp_path / "ws")
    shutil.copytree(two_versions / "digits", tmp_path / "digits")
    return tmp_path


def test_better_challenger_becomes_the_champion(two_versions):
    first, second = command("history", two_versions).json["entries"]
    assert [entry["action"] for entry in (first, second)] == ["retrain", "retrain"]
    assert second["before"] == first["run_id"] != second["run_id"]
    assert {finding["against"] for finding in second["findings"]} == {None, first["run_id"]}
    assert all(finding["passed"] for finding in second["findings"])
    champion = command("champion", two_versions).json
    assert (champion["run_id"], champion["version"]) == (second["run_id"], 2)
    assert Path(champion["path"]).is_file()
    assert f"{second['run_id']}" in run_in_process("history", "--workspace", two_versions / "ws").out


def test_a_stack_of_networks_is_refused_before_any_work(folder):
    before = contents(folder / "ws")
    done = retrain(folder, *STRONG, "--stack", 2)
    assert (done.code, "--stack 2" in done.err) == (2, True)
    assert contents(folder / "ws") == before


def test_unchanged_inputs_are_not_retrained(folder):
    retrain(folder, *STRONG)  # records the new path of the sources
    before = contents(folder / "ws")
    done = retrain(folder, *STRONG)
    assert (done.code, done.json["outcome"], done.json["entry"]) == (0, "unchanged", 2)
    assert done.json["skipped"] == ["preprocess"]
    assert contents(folder / "ws") == before
    printed = run_in_process("retrain", "--workspace", folder / "ws", "--dataset", folder / "digits", "-q", *WEAK).out
    assert printed.startswith("nothing changed: ")
    assert "decided by entry 1: promoted" in printed


@pytest.mark.thorough
def test_champion_is_tested_on_the_new_data(folder):
    new = digits(num_train=600, num_test=200).write(folder / "new")
    done = retrain(folder, *STRONG, source=new)
    assert done.code == 0, done.err
    assert (done.json["outcome"], done.json["before"]) == ("kept", command("champion", folder).json["run_id"])
    [contest] = (folder / "ws").glob("registry/contests/*/*/contest.json")
    assert contest.parent.name == done.json["before"]
    assert contest.parent.parent.name == done.json["dataset_id"]
    entry = command("history", folder).json["entries"][-1]
    assert entry["num_examples"] == 200
    assert set(entry["num_correct"]) == {done.json["run_id"], done.json["before"]}
    assert retrain(folder, *STRONG, source=new).json["outcome"] == "unchanged"
    shutil.rmtree(contest.parent)
    repeated = retrain(folder, *STRONG, "--config", _policy(folder, "significance = 0.04"), source=new)
    found = [[(each["test"], each["value"]) for each in run.json["findings"]] for run in (done, repeated)]
    assert found[0] == found[1]
    assert run_in_process("verify", folder / "ws").code == 0


def _policy(folder: Path, text: str) -> Path:
    file = folder / "backbeam.toml"
    file.write_text(f"[promotion]\n{text}\n")
    return file


@pytest.mark.thorough
def test_pattern_is_expanded_to_the_current_folders(folder):
    shutil.move(folder / "digits", folder / "incoming" / "day-1")
    (folder / "incoming" / ".hidden").mkdir()  # as a shell does, the pattern skips it
    options = ("--num-steps", 299, "--config", _policy(folder, "significance = 1"), "--tensorboard")
    champion = promoted(retrain(folder, *options, source=folder / "incoming/*"))["run_id"]
    assert list((folder / "ws" / "runs" / champion / "tensorboard").iterdir())
    digits(seed=0, num_train=90, num_test=60).write(folder / "incoming" / "day-2")
    done = retrain(folder, *STRONG, source=folder / "incoming/*")
    assert done.code == 0, done.err
    assert done.json["skipped"] == ["preprocess " + str(folder / "incoming/day-1")]
    entry = command("history", folder).json["entries"][-1]
    assert entry["num_examples"] == 360
    unmatched = retrain(folder, source=folder / "nothing/*")
    assert (unmatched.code, "nothing fits this pattern" in unmatched.err) == (3, True)


def write_dark(folder: Path) -> None:
    """Write digits of which all train images of a class are blank."""
    images, labels = digits().split(0, 300)
    dark = images_bytes(np.where(labels[:, None, None] > 0, images, 7))
    write_files(folder, digits().files() | {"train-images-idx3-ubyte": dark})


def test_bad_data_are_rejected_and_entered_once(folder):
    write_dark(folder / "bad")
    for message in ("does not pass", "was refused before, entry 3"):
        done = retrain(folder, *STRONG, source=folder / "bad")
        assert (done.code, message in done.err) == (3, True), done.err
    entries = command("history", folder).json["entries"]
    assert len(entries) == 3
    assert (entries[2]["outcome"], entries[2]["run_id"]) == ("kept", None)
    assert "drift" in " ".join(entries[2]["reasons"])
    assert command("champion", folder).json["version"] == 2
    lenient = folder / "lenient.toml"
    drifts = ("pixel_mean_drift", "pixel_std_drift")
    lenient.write_text("".join(f'[validation.{name}]\nseverity = "warning"\n' for name in drifts))
    allowed = retrain(folder, "--num-steps", 4, "--config", lenient, source=folder / "bad")
    assert (allowed.code, allowed.json["outcome"]) == (0, "kept"), allowed.err


def test_data_set_that_cannot_be_evaluated_is_rejected_before_training(tmp_path, monkeypatch):
    manifest = SimpleNamespace(class_names=("a", "b"), splits={"train": SimpleNamespace(shards=())})
    monkeypatch.setattr("pipeline.storage.tables.MAX_ROWS", 3)
    monkeypatch.setattr(retraining, "preprocess_stage", lambda *arguments: SimpleNamespace(manifest=manifest))
    for name in ("_expand_patterns", "_digest_inputs", "find_reference", "_check_start", "_validate"):
        monkeypatch.setattr(retraining, name, lambda *arguments: None)
    monkeypatch.setattr(retraining, "train_stage", lambda *arguments: pytest.fail("training began"))
    config = MagicMock(warm_start=False)
    with pytest.raises(BadInput, match="confusion would have 4 rows"):
        retraining.retrain(SimpleNamespace(workspace=tmp_path), config, StageLog())


def test_warm_start_of_a_file_from_other_layers_is_rejected_before_validation(digits_run, monkeypatch):
    [run] = [load_run(folder) for folder in (digits_run / "runs").iterdir()]
    start = WarmStart(run_id=run.run_id, sha256=run.parameters.sha256)
    data = load_dataset(digits_run / "datasets" / run.dataset_id)
    training = run.config.model_copy(update={"warm_start": start, "layers": (784, 9, 10)})
    monkeypatch.setattr(retraining, "load_history_and_repair_pointer", lambda workspace: History())
    monkeypatch.setattr(retraining, "preprocess_stage", lambda *arguments: data)
    monkeypatch.setattr(retraining, "_validate", lambda *arguments: pytest.fail("work began"))
    for name in ("_expand_patterns", "_digest_inputs"):
        monkeypatch.setattr(retraining, name, lambda *arguments: None)
    config = MagicMock(warm_start=False, training=training)
    with pytest.raises(BadUsage, match=f"a warm start from {run.run_id} needs its layers"):
        retraining.retrain(SimpleNamespace(workspace=digits_run), config, StageLog())


def test_data_of_another_image_size_are_rejected(folder):
    done = retrain(folder, *STRONG, source=digits(height=6).write(folder / "other"))
    assert (done.code, "cannot be compared" in done.err) == (3, True)
    assert len(list((folder / "ws" / "runs").iterdir())) == 2


@pytest.mark.thorough
def test_promote_applies_the_policy_unless_it_is_forced(folder):
    weak = load_history(folder / "ws")[0].run_id
    refused = command("promote", folder, weak)
    assert (refused.code, refused.json["outcome"]) == (1, "kept")
    assert command("champion", folder).json["version"] == 2
    needs_why = command("promote", folder, weak, "--force")
    assert (needs_why.code, "--why" in needs_why.err) == (2, True)
    forced = command("promote", folder, weak, "--force", "--why", "the other one fails on site")
    assert (forced.code, forced.json["forced"], forced.json["why"]) == (0, True, "the other one fails on site")
    assert command("champion", folder).json["version"] == 4
    again = command("promote", folder, weak)
    assert (again.code, "is the champion already" in again.err, again.json["number"]) == (0, True, 4)
    assert len(command("history", folder).json["entries"]) == 4
    assert "promoted by force" in run_in_process("history", "--workspace", folder / "ws").out


@pytest.mark.thorough
def test_rolled_back_run_is_promoted_by_hand_only(folder):
    strong = load_history(folder / "ws")[1].run_id
    rolled_back = command("rollback", folder, "--why", "it was slow")
    assert (rolled_back.code, rolled_back.json["champion"]["version"]) == (0, 1)
    assert command("rollback", folder).code == 2
    assert retrain(folder, *STRONG).json["outcome"] == "unchanged"
    reconsidered = retrain(folder, *STRONG, "--config", _policy(folder, "significance = 0.04"))
    assert reconsidered.json["outcome"] == "kept"
    assert any("was rolled back" in reason for reason in reconsidered.json["reasons"])
    assert promoted(command("promote", folder, strong))["champion"]["version"] == 5
    for entries in (5, 5):
        assert command("rollback", folder, "--to", 5).json["champion"]["run_id"] == strong
        assert len(command("history", folder).json["entries"]) == entries
    assert command("rollback", folder, "--to", 1).json["champion"]["version"] == 1


@pytest.mark.thorough
def test_warm_start_uses_the_parameters_of_the_champion(folder):
    champion = command("champion", folder).json
    done = retrain(folder, "--warm-start", "--num-steps", 2)
    assert done.code == 0, done.err
    record = json.loads((folder / "ws" / "runs" / done.json["run_id"] / "run.json").read_text())
    assert record["config"]["warm_start"] == {"run_id": champion["run_id"], "sha256": champion["parameters"]["sha256"]}
    cold = retrain(folder, "--num-steps", 2)
    entries = command("history", folder).json["entries"][-2:]
    correct = [entry["num_correct"][each.json["run_id"]] for entry, each in zip(entries, (done, cold), strict=True)]
    assert correct[0] > correct[1]
    assert retrain(folder, "--warm-start", "--num-steps", 2).json["outcome"] == "unchanged"
    other = retrain(folder, "--warm-start", "--layers", "20,7,3", "--num-steps", 10)
    assert (other.code, "needs its layers, 20-30-3; those here are 20-7-3" in other.err) == (2, True)


@pytest.mark.slow
def test_warm_start_is_reported_and_reproducible(folder):
    champion = command("champion", folder).json
    done, cold = retrain(folder, "--warm-start", "--num-steps", 2), retrain(folder, "--num-steps", 2)
    for page in (
        command("report", folder, done.json["run_id"]),
        command("report", folder, done.json["run_id"], cold.json["run_id"]),
    ):
        assert page.code == 0, page.err
        assert champion["parameters"]["sha256"] in Path(page.json["path"]).read_text()
    again = run_in_process("reproduce", done.json["run_id"], "--workspace", folder / "ws", "--json")
    assert (again.code, again.json["equal"]) == (0, True), again.err


@pytest.mark.thorough
def test_commands_in_a_workspace_without_a_registry(folder):
    shutil.rmtree(folder / "ws" / "registry")
    assert command("history", folder).json == {"entries": []}
    missing = command("show", folder, "champion")
    assert (missing.code, "has no champion yet" in missing.err) == (2, True)
    assert command("champion", folder).code == command("rollback", folder).code == 2
    assert command("promote", folder, "nothing").code == 2


def test_missing_run_of_the_champion_is_reported_as_corrupt(folder):
    shutil.rmtree(folder / "ws" / "runs" / load_history(folder / "ws")[1].run_id)
    done = retrain(folder, "--num-steps", 301)
    assert (done.code, "run.json is missing" in done.err) == (4, True)
    assert run_in_process("verify", folder / "ws").code == 4


@pytest.mark.thorough
def test_missing_best_run_is_skipped_but_a_missing_named_reference_is_an_error(folder):
    weak, strong = (entry.run_id for entry in load_history(folder / "ws"))
    assert command("promote", folder, weak, "--force", "--why", "a trial").code == 0
    shutil.rmtree(folder / "ws" / "runs" / strong)
    promoted(retrain(folder, "--num-steps", 301))
    done = retrain(folder, "--num-steps", 302, "--config", _policy(folder, f'reference = "{strong}"'))
    assert (done.code, "[promotion] reference: " in done.err and "matches no run" in done.err) == (2, True)


@pytest.mark.thorough
def test_rejected_data_are_validated_again_if_the_champion_changed(folder):
    write_dark(folder / "dark")
    assert retrain(folder, *STRONG, source=folder / "dark").code == 3
    assert command("train", folder, "dark", *STRONG).code == 0
    run = max((folder / "ws" / "runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime).parent.name
    assert command("promote", folder, run, "--force", "--why", "dark from now on").code == 0
    assert retrain(folder, *STRONG, source=folder / "dark").json["outcome"] == "kept"


def test_corrupt_history_is_an_error_of_every_command(folder):
    path = folder / "ws" / "registry" / "history" / "00000001.json"
    path.write_bytes(path.read_bytes().replace(b"retrain", b"promote", 1))
    for done in (retrain(folder, *STRONG), command("rollback", folder), command("history", folder)):
        assert (done.code, str(path) in done.err) == (4, True)


def test_run_that_was_decided_about_is_named_and_logged(folder):
    done = retrain(folder, *STRONG, "--name", "nightly", "--tensorboard")
    assert (done.code, done.json["outcome"]) == (0, "unchanged")
    assert list((folder / "ws" / "runs" / done.json["run_id"] / "tensorboard").iterdir())
    assert load_run(folder / "ws" / "runs" / done.json["run_id"]).name == "nightly"
