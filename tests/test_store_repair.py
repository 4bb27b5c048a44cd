"""Verification and repair of workspaces in object stores: bad files are named by URI and repaired to the same bytes."""

from fnmatch import fnmatchcase

import pytest

from tests.damage import DAMAGES, KINDS
from tests.helpers import contents

pytestmark = pytest.mark.thorough

FILES = ("shard", "rejected", "validation table", "parameters", "evaluation table", "seeds table")


@pytest.fixture
def before(store, everything, tmp_path):
    files = {name: data for name, data in contents(everything / "ws").items() if not name.startswith(".")}
    for name, data in files.items():
        store.put(f"{tmp_path.name}/{name}", data)
    return files


def find(files, kind):
    [name] = [name for name in files if fnmatchcase(name, KINDS[kind])]
    return name


@pytest.mark.parametrize(
    "how", ["flip a bit", *(pytest.param(how, marks=pytest.mark.slow) for how in ("truncate", "empty", "delete"))]
)
def test_damaged_files_are_repaired_to_the_same_bytes(how, run_in_store, store, before, tmp_path):
    kinds = FILES if how != "flip a bit" else ("shard", "rejected", "validation table", "seeds table")
    names = [find(before, kind) for kind in kinds]
    for name in names:
        if how == "delete":
            store.delete(f"{tmp_path.name}/{name}")
        else:
            store.put(f"{tmp_path.name}/{name}", DAMAGES[how](before[name]))
    uris = {store.uri(f"{tmp_path.name}/{name}") for name in names}
    done = run_in_store("verify", "--json")
    assert (done.code, "Traceback" in done.err) == (4, False), done.err
    assert {fault["path"] for fault in done.json["faults"]} == uris
    assert any(uri in done.err for uri in uris)
    repaired = run_in_store("verify", "--json", "--repair")
    assert repaired.code == 0, repaired.err
    assert repaired.json["sound"]
    assert set(repaired.json["repaired"]) == uris
    assert store.visible(tmp_path.name) == before


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["origin", "manifest", "run", "evaluation"])
def test_a_lost_record_is_reported_and_not_repaired(kind, run_in_store, store, before, tmp_path):
    name = find(before, kind)
    store.delete(f"{tmp_path.name}/{name}")
    done = run_in_store("verify", "--json", "--repair")
    assert done.code == 4, done.err
    assert store.uri(f"{tmp_path.name}/{name}") in done.err
    assert store.visible(tmp_path.name) == {key: data for key, data in before.items() if key != name}
