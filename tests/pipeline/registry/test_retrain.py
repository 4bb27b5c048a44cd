"""Retraining and the registry by the real commands, on made-up digits."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.registry.history import load_history
from tests.helpers import Digits, backbeam, contents, images_bytes, write_files

WEAK, STRONG = ("--num-steps", 3), ("--num-steps", 300)  # 60 % and all of the test examples right


def digits(**changes) -> Digits:
    return Digits(**({"num_train": 300, "num_test": 300} | changes))


def retrain(folder: Path, *arguments, source: object = None):
    where = ("--workspace", folder / "ws", "--dataset", source or folder / "digits")
    return backbeam("retrain", *where, "--quiet", "--json", *arguments)


def command(name: str, folder: Path, *arguments):
    return backbeam(name, *arguments, "--workspace", folder / "ws", "--json")


def promoted(done) -> dict:
    assert done.code == 0, done.err
    assert done.json["outcome"] == "promoted", done.json["reasons"]
    return done.json


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory) -> Path:
    """A folder with `digits` and `ws`, where a strong champion has replaced a weak one."""
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


def test_a_better_challenger_becomes_the_champion(two_versions):
    first, second = command("history", two_versions).json["entries"]
    assert [entry["action"] for entry in (first, second)] == ["retrain", "retrain"]
    assert second["before"] == first["run_id"] != second["run_id"]
    assert {finding["against"] for finding in second["findings"]} == {None, first["run_id"]}
    assert all(finding["passed"] for finding in second["findings"])
    champion = command("champion", two_versions).json
    assert (champion["run_id"], champion["version"]) == (second["run_id"], 2)
    assert Path(champion["path"]).is_file()
    assert f"{second['run_id']}" in backbeam("history", "--workspace", two_versions / "ws").out


def test_where_nothing_changed_nothing_is_done(folder):
    retrain(folder, *STRONG)  # says where the sources are now
    before = contents(folder / "ws")
    done = retrain(folder, *STRONG)
    assert (done.code, done.json["outcome"], done.json["entry"]) == (0, "unchanged", 2)
    assert done.json["skipped"] == ["preprocess"]
    assert contents(folder / "ws") == before
    said = backbeam("retrain", "--workspace", folder / "ws", "--dataset", folder / "digits", "-q", *WEAK).out
    assert said.startswith("nothing changed: ")
    assert "decided by entry 1: promoted" in said


def test_a_worse_challenger_is_kept_away_once(folder):
    for outcome in ("kept", "unchanged"):
        done = retrain(folder, "--num-steps", 5)
        assert (done.code, done.json["outcome"]) == (0, outcome)
        assert any("points on the champion" in reason for reason in done.json["reasons"])
    assert command("champion", folder).json["version"] == 2
    assert len(command("history", folder).json["entries"]) == 3


def test_new_data_are_what_the_champion_answers_too(folder):
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
    shutil.rmtree(contest.parent)
    again = retrain(folder, *STRONG, "--config", _policy(folder, "significance = 0.04"), source=new)
    found = [[(each["test"], each["value"]) for each in run.json["findings"]] for run in (done, again)]
    assert found[0] == found[1]
    assert backbeam("verify", folder / "ws").code == 0


def _policy(folder: Path, text: str) -> Path:
    file = folder / "backbeam.toml"
    file.write_text(f"[promotion]\n{text}\n")
    return file


def test_a_pattern_joins_what_fits_it_now(folder):
    shutil.move(folder / "digits", folder / "incoming" / "day-1")
    promoted(retrain(folder, "--num-steps", 299, "--config", _policy(folder, "significance = 1"),
                     source=folder / "incoming/*"))  # fmt: skip
    digits(seed=0, num_train=90, num_test=60).write(folder / "incoming" / "day-2")
    done = retrain(folder, *STRONG, source=folder / "incoming/*")
    assert done.code == 0, done.err
    assert done.json["skipped"] == ["preprocess " + str(folder / "incoming/day-1")]
    entry = command("history", folder).json["entries"][-1]
    assert entry["num_examples"] == 360
    nothing = retrain(folder, source=folder / "nothing/*")
    assert (nothing.code, "nothing fits this pattern" in nothing.err) == (3, True)


def test_a_bad_batch_is_refused_and_entered_once(folder):
    images, labels = digits().split(0, 300)
    dark = images_bytes(np.where(labels[:, None, None] > 0, images, 7))  # a class without a picture
    write_files(folder / "bad", digits().files() | {"train-images-idx3-ubyte": dark})
    for said in ("does not pass", "was refused before, entry 3"):
        done = retrain(folder, *STRONG, source=folder / "bad")
        assert (done.code, said in done.err) == (3, True), done.err
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


def test_data_of_another_size_cannot_be_compared(folder):
    done = retrain(folder, *STRONG, source=digits(height=6).write(folder / "other"))
    assert (done.code, "cannot be compared" in done.err) == (3, True)
    assert len(list((folder / "ws" / "runs").iterdir())) == 2


def test_promoting_by_hand_asks_the_same_unless_it_is_forced(folder):
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
    assert "promoted by force" in backbeam("history", "--workspace", folder / "ws").out


def test_a_rollback_and_no_way_back_but_by_hand(folder):
    strong = load_history(folder / "ws")[1].run_id
    back = command("rollback", folder, "--why", "it was slow")
    assert (back.code, back.json["champion"]["version"]) == (0, 1)
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


def test_a_warm_start_begins_with_the_champion(folder):
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


@pytest.mark.slow
def test_a_warm_start_is_told_of_and_can_be_reproduced(folder):
    champion = command("champion", folder).json
    done, cold = retrain(folder, "--warm-start", "--num-steps", 2), retrain(folder, "--num-steps", 2)
    for page in (command("report", folder, done.json["run_id"]), command("report", folder, *_both(done, cold))):
        assert page.code == 0, page.err
        assert champion["parameters"]["sha256"] in Path(page.json["path"]).read_text()
    again = backbeam("reproduce", done.json["run_id"], "--workspace", folder / "ws", "--json")
    assert (again.code, again.json["equal"]) == (0, True), again.err


def _both(*done) -> list[str]:
    return [each.json["run_id"] for each in done]


def test_a_warm_start_needs_the_layers_of_the_champion(folder):
    done = retrain(folder, "--warm-start", "--layers", "20,7,3", "--num-steps", 10)
    assert (done.code, "needs its layers, 20-30-3; those here are 20-7-3" in done.err) == (2, True)


def test_the_champion_can_be_named_as_one(folder):
    strong = load_history(folder / "ws")[1].run_id
    assert command("show", folder, "champion").json["run_id"] == strong
    assert (
        backbeam("compare", "champion", load_history(folder / "ws")[0].run_id, "--workspace", folder / "ws").code == 0
    )
    shutil.rmtree(folder / "ws" / "registry")
    none = command("show", folder, "champion")
    assert (none.code, "has no champion yet" in none.err) == (2, True)


def test_commands_without_a_registry(folder):
    shutil.rmtree(folder / "ws" / "registry")
    assert command("history", folder).json == {"entries": []}
    assert command("champion", folder).code == command("rollback", folder).code == 2
    assert command("promote", folder, "nothing").code == 2


def test_a_champion_whose_run_is_gone_is_no_trouble_of_the_disk(folder):
    shutil.rmtree(folder / "ws" / "runs" / load_history(folder / "ws")[1].run_id)
    done = retrain(folder, "--num-steps", 301)
    assert (done.code, "run.json is missing" in done.err) == (4, True)
    assert backbeam("verify", folder / "ws").code == 4


def test_a_best_that_is_gone_is_passed_over_and_one_that_is_named_is_not(folder):
    weak, strong = (entry.run_id for entry in load_history(folder / "ws"))
    assert command("promote", folder, weak, "--force", "--why", "a trial").code == 0
    shutil.rmtree(folder / "ws" / "runs" / strong)
    promoted(retrain(folder, "--num-steps", 301))
    done = retrain(folder, "--num-steps", 302, "--config", _policy(folder, f'reference = "{strong}"'))
    assert (done.code, "[promotion] reference: " in done.err and "matches no run" in done.err) == (2, True)


def test_data_that_drifted_from_another_champion_get_another_look(folder):
    images, labels = digits().split(0, 300)
    dark = images_bytes(np.where(labels[:, None, None] > 0, images, 7))
    write_files(folder / "dark", digits().files() | {"train-images-idx3-ubyte": dark})
    assert retrain(folder, *STRONG, source=folder / "dark").code == 3
    assert command("train", folder, "dark", *STRONG).code == 0
    run = max((folder / "ws" / "runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime).parent.name
    assert command("promote", folder, run, "--force", "--why", "dark from now on").code == 0
    assert retrain(folder, *STRONG, source=folder / "dark").json["outcome"] == "kept"


def test_a_spoilt_history_stops_every_change(folder):
    path = folder / "ws" / "registry" / "history" / "00000001.json"
    path.write_bytes(path.read_bytes().replace(b"retrain", b"promote", 1))
    for done in (retrain(folder, *STRONG), command("rollback", folder), command("history", folder)):
        assert (done.code, str(path) in done.err) == (4, True)
