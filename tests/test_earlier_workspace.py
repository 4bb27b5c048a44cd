"""Today's code reads a workspace that an earlier version wrote; tests/data/README.md says which, and how."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.evaluate.seeds import load_group
from pipeline.evaluate.table_reader import read_rows
from pipeline.preprocess.dataset import check_dataset
from pipeline.preprocess.provenance import load_origin
from pipeline.preprocess.validation_config import CHECKS, check_validation
from pipeline.registry import retrain
from pipeline.registry.history import find_champion, load_history
from pipeline.registry.stored_answers import load_answers_record
from pipeline.storage.tables import EVALUATION_TABLES, SCHEMAS, TRAINING_TABLES
from pipeline.train.run_record import load_run
from tests.helpers import Digits, contents

ARCHIVE = Path(__file__).parent / "data" / "workspace-2026-11-26.tar.gz"
CHAMPION = "article-manual-seed1-225066f2520a"
CHALLENGER = "article-manual-seed1-4053df0ed0a6"
RETRAINED = ("--layers", "20,4,3", "--num-steps", 20)  # as the challenger


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("earlier") / "ws"
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def command(*arguments: object) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"], obj=())
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def test_every_record_of_an_earlier_version_is_read(written):
    runs = [load_run(folder) for folder in sorted((written / "runs").iterdir())]
    assert [run.config.seed for run in runs] == [1, 1, 2]
    for dataset in [check_dataset(folder) for folder in (written / "datasets").iterdir()]:
        assert load_origin(written, dataset.manifest.dataset_id).datasets[0].startswith("/srv/digits/")
        assert check_validation(written, dataset).results
    [group] = (written / "groups").iterdir()
    assert load_group(written, group.stem).run_ids[0] == CHAMPION
    assert find_champion(written) == load_history(written).champion
    [answers] = written.glob("registry/contests/*/*")
    assert load_answers_record(answers).run_id == CHAMPION


@pytest.mark.parametrize("table", [*TRAINING_TABLES, *EVALUATION_TABLES])
def test_every_table_of_an_earlier_version_has_the_columns_of_today(table, written):
    assert read_rows(written, table, CHAMPION).schema.names == SCHEMAS[table].names


def test_commands_find_an_earlier_workspace_sound_and_complete(written, tmp_path):
    before = contents(written)
    where = ("--workspace", written)
    assert command("verify", written)["sound"]
    assert {run["run_id"] for run in command("runs", *where)["runs"]} >= {CHAMPION, CHALLENGER}
    assert command("champion", *where)["run_id"] == CHAMPION
    assert [entry["outcome"] for entry in command("history", *where)["entries"]] == ["promoted", "kept"]
    assert command("evaluate", CHALLENGER, *where)["skipped"] == ["evaluate"]
    page = tmp_path / "page.html"
    assert command("report", CHAMPION, "--to", page, *where)["num_bytes"] == page.stat().st_size
    after = contents(written)
    assert {name: data for name, data in after.items() if name in before} == before


@pytest.mark.thorough
def test_model_of_an_earlier_version_predicts(written, tmp_path):
    images = Digits().write(tmp_path / "digits") / "t10k-images-idx3-ubyte"
    predictions = command("predict", images, "--run", CHAMPION, "--workspace", written)["predictions"]
    assert [row["class_name"] for row in predictions] == [str(number % 3) for number in range(20)]


def test_retraining_of_an_earlier_version_is_not_repeated(written, tmp_path, monkeypatch):
    """The versions and the checks are part of what decides that, so this is with those that wrote the workspace."""
    versions = json.loads((written / "runs" / CHALLENGER / "run.json").read_bytes())["versions"]
    monkeypatch.setattr(retrain, "version", versions.get)
    monkeypatch.setattr(retrain, "STREAMS_VERSION", 2)
    for name in ("rejected", "rejected_of_class", "pixel_range"):
        monkeypatch.delitem(CHECKS, name)
    source = Digits(num_train=90, num_test=30).write(tmp_path / "second")
    done = command("retrain", "--dataset", source, *RETRAINED, "--workspace", written)
    assert (done["outcome"], done["entry"], done["run_id"]) == ("unchanged", 2, CHALLENGER)
