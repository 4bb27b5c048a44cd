"""The registry of a workspace in an object store: retrain, rollback, verify and repair."""

import json

import pytest

from tests.helpers import Digits

pytestmark = pytest.mark.thorough

POLICY = "[promotion]\nminimum_gain = -1.0\nsignificance = 1.0\nlargest_class_loss = 1.0\n"


@pytest.mark.slow
def test_champions_are_promoted_rolled_back_and_repaired_in_a_store(store, run_in_store, tmp_path):
    (tmp_path / "policy.toml").write_text(POLICY)
    options = ("--config", tmp_path / "policy.toml", "--num-steps", 20, "--quiet")
    sources = [Digits(num_train=number).write(tmp_path / f"digits-{number}") for number in (60, 90)]
    for version, source in enumerate(sources, 1):
        done = run_in_store("retrain", "--dataset", source, *options, "--json")
        assert (done.code, done.json["outcome"], done.json["champion"]["version"]) == (0, "promoted", version), done.err
        pointer = json.loads(store.get(f"{tmp_path.name}/registry/champion.json"))
        assert pointer["run_id"] == done.json["run_id"] == run_in_store("champion", "--json").json["run_id"]
    assert run_in_store("retrain", "--dataset", sources[1], *options, "--json").json["outcome"] == "unchanged"
    outdated = store.get(f"{tmp_path.name}/registry/champion.json")
    assert run_in_store("rollback", "--why", "a trial", "--json").json["champion"]["version"] == 1
    # as if a process was killed before it updated the pointer
    store.put(f"{tmp_path.name}/registry/champion.json", outdated)
    assert run_in_store("verify", "--json").code == 0
    assert run_in_store("rollback", "--to", 1, "--json").json["number"] == 3
    assert run_in_store("champion", "--json").json["version"] == 1
    names = store.names(f"{tmp_path.name}/registry/contests")
    [answers] = [name for name in names if name.endswith(".parquet")]
    damaged = [answers, f"{tmp_path.name}/registry/champion.json"]
    before = {name: store.get(name) for name in damaged}
    for name, data in before.items():
        store.put(name, data[:-10])
    verified = run_in_store("verify", "--json")
    assert (verified.code, {fault["kind"] for fault in verified.json["faults"]}) == (4, {"answers", "champion"})
    assert run_in_store("verify", "--repair", "--quiet", "--json").code == 0
    assert {name: store.get(name) for name in damaged} == before
    entries = run_in_store("history", "--json").json["entries"]
    assert [entry["action"] for entry in entries] == ["retrain", "retrain", "rollback"]
