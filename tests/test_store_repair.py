"""Verify and repair of workspaces in object stores: what is bad is named by its URI, and comes back byte by byte."""

from fnmatch import fnmatchcase

import pytest

from tests.damage import DAMAGES, KINDS
from tests.helpers import backbeam, contents

FILES = ("shard", "rejected", "validation table", "parameters", "evaluation table", "seeds table")
TIMED = ("run.json", "learning_curve.parquet")  # which tell times, and are made again with others


@pytest.fixture
def told(store, tmp_path):
    """Verify this test's own folder of the store."""

    def tell(*arguments):
        changed = store.environment | {"BACKBEAM_CACHE_DIR": str(tmp_path / "cache")}
        return backbeam("verify", store.uri(tmp_path.name), "--json", *arguments, environment=changed)

    return tell


@pytest.fixture
def before(store, everything, tmp_path):
    """Every object of a workspace that has every kind of artefact, by its name there."""
    files = {name: data for name, data in contents(everything / "ws").items() if not name.startswith(".")}
    for name, data in files.items():
        store.put(f"{tmp_path.name}/{name}", data)
    return files


def find(files, kind):
    [name] = [name for name in files if fnmatchcase(name, KINDS[kind])]
    return name


def damage(store, folder, name, data, how):
    if how == "delete":
        store.delete(f"{folder}/{name}")
    else:
        store.put(f"{folder}/{name}", DAMAGES[how](data))


def found(store, tmp_path):
    files = store.contents(tmp_path.name)
    return {name: data for name, data in files.items() if not name.startswith(".")}


def assert_found_and_mended(told, store, tmp_path, before, names):
    uris = {store.uri(f"{tmp_path.name}/{name}") for name in names}
    done = told()
    assert done.code == 4, done.err
    assert {fault["path"] for fault in done.json["faults"]} == uris
    assert "Traceback" not in done.err
    assert any(uri in done.err for uri in uris)
    mended = told("--repair")
    assert mended.code == 0, mended.err
    assert mended.json["sound"]
    assert set(mended.json["repaired"]) == uris
    assert found(store, tmp_path) == before


@pytest.mark.parametrize(
    "how",
    [
        "flip a bit",
        *(pytest.param(how, marks=pytest.mark.slow) for how in ("truncate", "empty", "delete")),
    ],
)
def test_damaged_files_are_repaired_to_the_same_bytes(how, told, store, before, tmp_path):
    kinds = FILES if how != "flip a bit" else ("shard", "rejected", "validation table", "seeds table")
    names = [find(before, kind) for kind in kinds]
    for name in names:
        damage(store, tmp_path.name, name, before[name], how)
    assert_found_and_mended(told, store, tmp_path, before, names)


@pytest.mark.slow
def test_exchanged_shards_are_found_and_repaired(told, store, before, tmp_path):
    first, second = sorted(name for name in before if fnmatchcase(name, "datasets/digits-*/train-*.tfrecord"))[:2]
    store.put(f"{tmp_path.name}/{first}", before[second])
    store.put(f"{tmp_path.name}/{second}", before[first])
    assert_found_and_mended(told, store, tmp_path, before, [first, second])


@pytest.mark.slow
def test_a_damaged_learning_curve_is_repaired_with_the_same_parameters(told, store, before, tmp_path):
    [name] = [name for name in before if fnmatchcase(name, "reports/learning_curve/*seed1*/*.parquet")]
    damage(store, tmp_path.name, name, before[name], "empty")
    done = told()
    assert done.code == 4, done.err
    assert store.uri(f"{tmp_path.name}/{name}") in done.err
    assert told("--repair").code == 0
    after = found(store, tmp_path)
    assert set(after) == set(before)
    assert all(after[each] == before[each] for each in before if not each.endswith(TIMED))
    assert told().code == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["origin", "manifest", "run", "evaluation"])
def test_a_lost_record_is_reported_and_not_repaired(kind, told, store, before, tmp_path):
    name = find(before, kind)
    store.delete(f"{tmp_path.name}/{name}")
    done = told("--repair")
    assert done.code == 4, done.err
    assert store.uri(f"{tmp_path.name}/{name}") in done.err
    assert found(store, tmp_path) == {key: data for key, data in before.items() if key != name}
