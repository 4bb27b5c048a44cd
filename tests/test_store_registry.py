"""The registry of a workspace in an object store: retrained, rolled back, read, verified and repaired there."""

import json

import pytest

from tests.helpers import Digits, backbeam

POLICY = "[promotion]\nminimum_gain = -1.0\nsignificance = 1.0\nlargest_class_loss = 1.0\n"


@pytest.fixture
def told(store, tmp_path):
    def tell(name, *arguments):
        changed = store.environment | {"BACKBEAM_CACHE_DIR": str(tmp_path / "cache")}
        where = ("--workspace", store.uri(tmp_path.name), "--json")
        return backbeam(name, *arguments, *where, environment=changed)

    return tell


@pytest.mark.slow
def test_champions_are_promoted_rolled_back_and_repaired_in_a_store(store, told, tmp_path):
    (tmp_path / "policy.toml").write_text(POLICY)
    options = ("--config", tmp_path / "policy.toml", "--num-steps", 20, "--quiet")
    sources = [Digits(num_train=number).write(tmp_path / f"digits-{number}") for number in (60, 90)]
    for version, source in enumerate(sources, 1):
        done = told("retrain", "--dataset", source, *options)
        assert (done.code, done.json["outcome"], done.json["champion"]["version"]) == (0, "promoted", version), done.err
        pointer = json.loads(store.get(f"{tmp_path.name}/registry/champion.json"))
        assert pointer["run_id"] == done.json["run_id"] == told("champion").json["run_id"]
    assert told("retrain", "--dataset", sources[1], *options).json["outcome"] == "unchanged"
    behind = store.get(f"{tmp_path.name}/registry/champion.json")
    assert told("rollback", "--why", "a trial").json["champion"]["version"] == 1
    store.put(f"{tmp_path.name}/registry/champion.json", behind)  # as whoever is killed before it follows leaves it
    assert told("verify").code == 0
    assert told("rollback", "--to", 1).json["number"] == 3
    assert told("champion").json["version"] == 1
    names = store.names(f"{tmp_path.name}/registry/contests")
    [answers] = [name for name in names if name.endswith(".parquet")]
    damaged = [answers, f"{tmp_path.name}/registry/champion.json"]
    before = {name: store.get(name) for name in damaged}
    for name, data in before.items():
        store.put(name, data[:-10])
    found = told("verify")
    assert (found.code, {fault["kind"] for fault in found.json["faults"]}) == (4, {"answers", "champion"})
    assert told("verify", "--repair", "--quiet").code == 0
    assert {name: store.get(name) for name in damaged} == before
    assert [entry["action"] for entry in told("history").json["entries"]] == ["retrain", "retrain", "rollback"]
