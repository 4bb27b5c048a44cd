import json
import os
import subprocess
import sys

import pytest

from model.errors import BadUsage, CorruptArtefact, EngineFailed, Locked, StorageFailed
from pipeline.sources.scan import scan_source
from pipeline.sources.source_lookup import find_source
from pipeline.storage.files import (
    check_file,
    check_files_exist,
    digest_of,
    read_checked,
    read_range,
    remove_on_failure,
    remove_tree,
    write_atomically,
    write_if_absent,
)
from pipeline.storage.lock import lock_workspace
from tests.helpers import Digits, contents


def test_a_failed_write_changes_nothing(tmp_path):
    path = tmp_path / "x"
    write_atomically(path, b"old")

    def failing_chunks():
        yield b"new"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, failing_chunks())
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]  # noqa: PTH208


def test_a_write_creates_folders_and_replaces_a_file(tmp_path):
    path = tmp_path / "a" / "b" / "x"
    write_atomically(path, b"old")
    write_atomically(path, [b"n", b"ew"])
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("exists", [False, True])
def test_a_new_file_never_replaces_one(exists, tmp_path):
    path = tmp_path / "a" / "x"
    if exists:
        write_atomically(path, b"old")
    assert write_if_absent(path, [b"n", b"ew"]) == (not exists)
    assert not write_if_absent(path, b"another")
    assert contents(tmp_path) == {"a/x": b"old" if exists else b"new"}


def test_a_failed_write_if_absent_leaves_no_file(tmp_path):
    def failing_chunks():
        yield b"new"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_if_absent(tmp_path / "x", failing_chunks())
    assert contents(tmp_path) == {}


RACE = """
import sys
from pathlib import Path
from pipeline.storage.files import write_if_absent
print("ready", flush=True)
sys.stdin.readline()
print(sum(write_if_absent(Path(sys.argv[1]) / str(name), sys.argv[2].encode()) for name in range(50)))
"""


def test_exactly_one_of_several_processes_writes_each_absent_file(tmp_path):
    command = [sys.executable, "-c", RACE, tmp_path / "raced"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    racers = [subprocess.Popen([*command, f"racer {number}"], **pipes) for number in range(6)]
    assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 6
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    num_won = {f"racer {number}".encode(): int(racer.communicate(timeout=60)[0]) for number, racer in enumerate(racers)}
    written = contents(tmp_path / "raced")
    assert len(written) == 50
    assert {racer: list(written.values()).count(racer) for racer in num_won} == num_won


def test_a_file_that_matches_its_record_is_read(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    digest = digest_of(b"abc")
    check_file(path, 3, digest)
    assert read_checked(path, 3, digest) == b"abc"


@pytest.mark.parametrize(
    ("data", "message"), [(b"abcd", "expected 3 bytes, found 4"), (b"abd", "expected .* SHA-256"), (None, "missing")]
)
@pytest.mark.parametrize("check", [check_file, read_checked])
def test_a_file_that_does_not_match_its_record_is_corrupt(data, message, check, tmp_path):
    path = tmp_path / "x"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(CorruptArtefact, match=message) as raised:
        check(path, 3, digest_of(b"abc"))
    assert str(path) in str(raised.value)


HOLD = """
import sys, time
from pathlib import Path
from pipeline.storage.lock import lock_workspace
with lock_workspace(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_names_its_holder_and_is_released_when_it_dies(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Locked, match=f"in use by process {holder.pid} "), lock_workspace(tmp_path):
            pass
        holder.kill()
        holder.wait()
        with lock_workspace(tmp_path):
            assert json.loads((tmp_path / ".lock-holder.json").read_bytes())["pid"] == os.getpid()


def test_sources_in_a_store_have_the_same_identity_as_local_ones(memory, tmp_path):
    import gzip

    files = Digits().files()
    memory.update({f"memory://bucket/digits/{name}.gz": gzip.compress(d) for name, d in files.items()})
    source = find_source("memory://bucket/digits/", None, tmp_path)
    assert source.name == "digits"
    local = scan_source(find_source(str(Digits().write(tmp_path / "digits")), None, tmp_path))
    assert scan_source(source).infos == local.infos
    assert read_range(source.files[0], 0, 2) == b"\x1f\x8b"


def test_an_unknown_scheme_is_rejected(tmp_path):
    with pytest.raises(BadUsage, match=r"there is no store for nowhere://; expected s3://, gs:// or az://"):
        find_source("nowhere://bucket/digits", None, tmp_path)


@pytest.mark.parametrize("complete", [True, False])
def test_files_are_kept_on_failure_once_their_record_exists(complete, tmp_path):
    folder, record = tmp_path / "tables", tmp_path / "record.json"
    folder.mkdir()

    def interrupt():
        with remove_on_failure(folder, record=record):
            if complete:
                record.write_bytes(b"{}")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert folder.exists() == complete


def test_deleting_a_folder_does_not_follow_links(tmp_path):
    write_atomically(tmp_path / "elsewhere" / "kept", b"x")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    write_atomically(tmp_path / "folder" / "file", b"y")
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageFailed, match="link to a folder elsewhere"):
        remove_tree(tmp_path / "link")
    remove_tree(tmp_path / "folder")
    assert contents(tmp_path / "elsewhere") == {"kept": b"x"}
    assert not (tmp_path / "folder").exists()


def test_missing_files_are_found_before_a_record_names_them(tmp_path):
    (tmp_path / "one").write_bytes(b"1")
    check_files_exist(tmp_path, ["one"])
    with pytest.raises(EngineFailed, match="two is gone: the job was given up"):
        check_files_exist(tmp_path, ["one", "two"])
    with pytest.raises(EngineFailed, match="one is gone"):
        check_files_exist(tmp_path / "cleared", ["one"])
