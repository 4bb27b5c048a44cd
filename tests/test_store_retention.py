"""`du`, `prune`, `rm` and `migrate` in object stores: as on a disk, beside readers, and interrupted."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model.errors import StorageFailed
from pipeline.evaluate.evaluated_runs import list_runs
from pipeline.evaluate.table_reader import read_rows
from pipeline.registry.history import find_champion, load_history
from pipeline.storage.object_store import ObjectStore, _open
from pipeline.storage.places import Place, place_of
from pipeline.train.run_record import check_run
from tests.earlier_formats import install_readers, write_earlier
from tests.emulators import wire
from tests.helpers import BACKBEAM, contents, run_in_process

pytestmark = pytest.mark.thorough

# What a request that deletes is known by.
REQUESTS = {"s3": b"?delete", "gs": b"DELETE /", "az": b"comp=batch"}
CHALLENGER = "article-manual-seed3"


@pytest.fixture
def on_disk(everything, tmp_path) -> Path:
    return shutil.copytree(everything / "ws", tmp_path / "on-disk")


@pytest.fixture
def in_store(store, on_disk, tmp_path, monkeypatch) -> Place:
    """The same workspace in the store, which this process reaches too."""
    for name, value in (store.environment | {"BACKBEAM_CACHE_DIR": str(tmp_path / "cache")}).items():
        monkeypatch.setenv(name, value)
    _open.cache_clear()
    upload(store, on_disk, tmp_path.name)
    return place_of(store.uri(tmp_path.name))


def upload(store, workspace: Path, folder: str) -> None:
    for name in store.names(folder):
        store.delete(name)
    for name, data in contents(workspace).items():
        if not name.startswith("."):
            store.put(f"{folder}/{name}", data)


def paths(files: dict[str, bytes]) -> set[str]:
    return {name for name in files if not name.startswith(".")}


def test_du_tells_the_same_as_on_a_disk(run_in_store, in_store, on_disk):
    here, there = (
        {item["name"]: item for item in done.json["items"]}
        for done in (run_in_process("du", "--workspace", on_disk, "--json"), run_in_store("du", "--json"))
    )
    copies = there.pop("local copies")
    assert (copies["num_bytes"], copies["would_go"]) == (0, False)
    assert {name: item for name, item in here.items() if name != "other files"} == there


@pytest.mark.parametrize("command", ["prune --keep 0", f"rm {CHALLENGER} others"])
def test_what_is_deleted_is_the_same_as_on_a_disk(command, run_in_store, in_store, on_disk, store, tmp_path):
    before = store.visible(tmp_path.name)
    name, *words = command.split()
    dry = run_in_store(name, *words, "--dry-run", "--json")
    assert (dry.code, store.visible(tmp_path.name)) == (0, before), dry.err
    done = run_in_store(name, *words, "--json")
    expected = run_in_process(name, *words, "--workspace", on_disk, "--json")
    assert done.json == expected.json
    assert done.json["deleted"] == dry.json["deleted"] != []
    after = store.visible(tmp_path.name)
    assert paths(after) == paths(contents(on_disk))
    assert all(after[path] == data for path, data in before.items() if path in after)
    assert run_in_store("verify", "--json").json["leftovers"] == []
    again = run_in_store(name, *words)
    assert (again.code, again.out) == (0, "nothing to delete\n")
    assert len(load_history(in_store)) == len(load_history(on_disk))
    refused = run_in_store("rm", "champion")
    assert (refused.code, "champion" in refused.err) == (2, True)
    assert store.visible(tmp_path.name) == after


def test_records_of_an_earlier_format_are_written_again(run_in_store, store, on_disk, in_store, monkeypatch, tmp_path):
    install_readers(monkeypatch)
    write_earlier(on_disk)
    upload(store, on_disk, tmp_path.name)
    before = store.visible(tmp_path.name)
    dry = run_in_store("migrate", "--dry-run", "--json")
    assert (dry.code, store.visible(tmp_path.name)) == (0, before), dry.err
    with failing(monkeypatch, "put", 5):
        broken = run_in_store("migrate")
    assert (broken.code, "Traceback" in broken.err) == (5, False), broken.err
    mixed = store.visible(tmp_path.name)
    assert {*mixed} == {*before}
    assert 0 < sum(mixed[name] != before[name] for name in before) < len(dry.json["earlier"])
    assert run_in_store("verify").code == 0
    assert run_in_store("migrate").code == 0
    assert run_in_process("migrate", "--workspace", on_disk).code == 0
    assert store.visible(tmp_path.name) == {name: data for name, data in contents(on_disk).items() if name[0] != "."}
    assert run_in_store("verify").code == 0


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, method: str, number: int) -> Iterator[list[str]]:
    """Let the store refuse every request of a kind from that number on; yield the URIs of those that it has taken."""
    call = getattr(ObjectStore, method)
    taken: list[str] = []

    def refuse_later(store: ObjectStore, uri: str, *arguments: object) -> object:
        if len(taken) >= number:
            raise StorageFailed(f"storage: {uri}: the store is gone")
        taken.append(uri)
        return call(store, uri, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, method, refuse_later)
        yield taken


def test_a_deletion_that_the_store_interrupts_is_completed_by_the_next(
    run_in_store, store, in_store, on_disk, monkeypatch, tmp_path
):
    whole = run_in_process("prune", "--keep", 0, "--workspace", on_disk)
    assert whole.code == 0, whole.err
    start = store.visible(tmp_path.name)
    with failing(monkeypatch, "_delete", 1000) as requests:
        assert run_in_store("prune", "--keep", 0).code == 0
    for number in range(0, len(requests), max(1, len(requests) // 4)):
        for name in store.names(tmp_path.name):
            store.delete(name)
        for name, data in start.items():
            store.put(f"{tmp_path.name}/{name}", data)
        with failing(monkeypatch, "_delete", number):
            broken = run_in_store("prune", "--keep", 0)
        assert (broken.code, "Traceback" in broken.err) == (5, False), broken.err
        verified = run_in_store("verify", "--json")
        assert (verified.code, verified.json["sound"]) == (0, True), verified.err
        listed = run_in_store("runs", "--json")
        assert listed.code == 0, listed.err
        again = run_in_store("prune", "--keep", 9)  # which deletes nothing by itself
        assert again.code == 0, again.err
        assert paths(store.visible(tmp_path.name)) == paths(contents(on_disk)), number
        assert len(load_history(in_store)) == len(load_history(on_disk))


@pytest.mark.parametrize("num_answered", [1, pytest.param(9, marks=pytest.mark.slow)])
def test_a_process_that_is_killed_while_it_deletes_leaves_a_sound_workspace(
    num_answered, run_in_store, store, in_store, on_disk, tmp_path
):
    assert run_in_process("prune", "--keep", 0, "--workspace", on_disk).code == 0
    command = [BACKBEAM, "prune", "--keep", "0", "--workspace", str(in_store)]
    with wire(store, REQUESTS[store.scheme], num_answered, "silent") as broken:
        environment = os.environ | store.reached_by(broken.address)
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            assert broken.broken.wait(60)
            process.kill()
    assert paths(store.visible(tmp_path.name)) - paths(contents(on_disk))  # not all is deleted
    assert run_in_store("verify").code == 0
    assert run_in_store("runs").code == 0
    again = run_in_store("prune", "--keep", 9)
    assert again.code == 0, again.err
    assert paths(store.visible(tmp_path.name)) == paths(contents(on_disk))
    assert len(load_history(in_store)) == len(load_history(on_disk))


class Reader(threading.Thread):
    """Reads a workspace, as commands that list and show do, until it is told to stop; keeps what went wrong."""

    def __init__(self, workspace: Place) -> None:
        super().__init__(daemon=True)
        self._workspace = workspace
        self._stop_requested = threading.Event()
        self.problems: list[str] = []
        self.counts: set[int] = set()  # of the runs that were listed

    def run(self) -> None:
        while not self._stop_requested.is_set():
            try:
                self._read()
            except Exception as problem:
                self.problems.append(f"{type(problem).__name__}: {problem}")

    def _read(self) -> None:
        listing = list_runs(self._workspace)
        self.problems += map(str, listing.problems)
        self.counts.add(len(listing.runs))
        champion = find_champion(self._workspace)
        check_run(self._workspace, self._workspace / champion.folder)
        assert read_rows(self._workspace, "evaluations", champion.run_id).num_rows
        assert load_history(self._workspace).champion == champion

    def stop(self) -> None:
        self._stop_requested.set()
        self.join(60)


@pytest.mark.parametrize("command", ["prune --keep 0", f"rm {CHALLENGER}"])
def test_readers_of_the_champion_and_of_lists_notice_no_deletion(command, run_in_store, in_store):
    reader = Reader(in_store)
    reader.start()
    while not reader.counts and reader.is_alive():
        reader.join(0.01)
    try:
        done = run_in_store(*command.split())
        assert done.code == 0, done.err
        remaining = len(list_runs(in_store).runs)
        while remaining not in reader.counts and reader.is_alive() and not reader.problems:
            reader.join(0.01)
    finally:
        reader.stop()
    assert reader.problems == []
    assert reader.counts == {remaining, remaining + 1}
