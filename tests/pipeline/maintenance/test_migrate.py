"""Workspaces of earlier formats are read as they are, and written again by `migrate`."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model.errors import UnknownFormat
from pipeline.cli.main import app
from pipeline.evaluate.evaluation_record import NEXT_NAME
from pipeline.maintenance.migrate import KINDS, migrate
from pipeline.maintenance.verify import VerifyScope, verify
from pipeline.registry.history import load_history
from pipeline.storage.places import RemotePath
from pipeline.storage.records import seal
from pipeline.train.run_record import RunRecord, load_run
from tests.earlier_formats import DROPPED, install_readers, version_of, write_earlier
from tests.helpers import contents

ARCHIVE = Path(__file__).parents[2] / "data" / "workspace-2026-11-28.tar.gz"


@pytest.fixture
def readers(monkeypatch):
    install_readers(monkeypatch)


@pytest.fixture
def today(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path / "ws", filter="data")
    return tmp_path / "ws"


@pytest.fixture
def earlier(readers, today):
    write_earlier(today)
    return today


def records(workspace):
    found = {path: json.loads(path.read_bytes()) for pattern in KINDS for path in workspace.glob(pattern)}
    assert found
    return found


def write_later(path, kind):
    content = json.loads(path.read_bytes()) | {"format_version": version_of(kind) + 1}
    del content["record_sha256"]
    path.write_bytes(seal(content))


def invoke(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments), "--json"], obj=())


def test_a_workspace_of_an_earlier_format_is_read_as_it_is(earlier):
    before = contents(earlier)
    assert not verify(VerifyScope(earlier)).faults
    assert len(json.loads(invoke("runs", "--workspace", earlier).stdout)["runs"]) == 3
    assert contents(earlier) == before


def test_every_record_is_written_again_and_nothing_else(earlier):
    before = contents(earlier)
    digest = load_run(next(earlier.glob("runs/*"))).dataset_digest
    done = json.loads(invoke("migrate", "--workspace", earlier).stdout)
    assert done["earlier"] == [str(path) for pattern in KINDS for path in sorted(earlier.glob(pattern))]
    for path, content in records(earlier).items():
        assert DROPPED not in content, path
    after = contents(earlier)
    assert {name for name in after if after[name] != before.get(name)} - {".lock"} == {
        str(path.relative_to(earlier)) for path in records(earlier)
    }
    assert not verify(VerifyScope(earlier)).faults
    assert len(load_history(earlier)) == 2
    assert load_run(next(earlier.glob("runs/*"))).dataset_digest == digest
    assert migrate(earlier, dry_run=False).earlier == ()


def test_a_file_that_is_no_entry_of_the_history_is_left_alone(today):
    (today / "registry" / "history" / "notes.json").write_text("{}")
    assert migrate(today, dry_run=False).earlier == ()


def test_a_dry_run_writes_nothing(earlier):
    before = contents(earlier)
    result = migrate(earlier, dry_run=True)
    assert (len(result.earlier), result.num_records) == (len(records(earlier)), len(records(earlier)))
    assert contents(earlier) == before


def test_a_mix_of_formats_is_sound(earlier):
    """As an interrupted migration leaves it, with any of the records written."""
    for path in migrate(earlier, dry_run=True).earlier:
        copy = shutil.copytree(earlier, earlier.with_name("copy"))
        [kind] = [kind for pattern, kind in KINDS.items() if path.match(str(earlier / pattern))]
        place = copy / path.relative_to(earlier)
        place.write_bytes(kind.load(place).to_json())
        assert not verify(VerifyScope(copy)).faults, path
        shutil.rmtree(copy)


def test_records_in_a_store_are_written_again(earlier, memory):
    for name, data in contents(earlier).items():
        memory[f"memory://b/ws/{name}"] = data
    workspace = RemotePath("memory://b/ws")
    assert len(migrate(workspace, dry_run=False).earlier) == len(records(earlier))
    assert migrate(workspace, dry_run=True).earlier == ()
    assert not verify(VerifyScope(workspace)).faults


@pytest.mark.parametrize("pattern", [pattern for pattern in KINDS if NEXT_NAME not in pattern])
@pytest.mark.parametrize("command", ["verify", "verify --repair", "migrate"])
def test_a_record_of_a_later_format_stays_as_it_is(pattern, command, today):
    write_later(next(today.glob(pattern)), KINDS[pattern])
    (today / ".lock").touch()
    before = contents(today)
    done = invoke(*command.split(), "--workspace", today)
    assert isinstance(done.exception, UnknownFormat), done.output
    assert "update backbeam" in str(done.exception)
    assert contents(today) == before


def test_runs_are_not_hidden_by_one_of_a_later_format(today):
    write_later(next(today.glob("runs/*/run.json")), RunRecord)
    done = invoke("runs", "--workspace", today)
    assert isinstance(done.exception, UnknownFormat)
    assert "written by backbeam 0.2.0" in str(done.exception)
