"""Today's code reads workspaces that earlier versions wrote; tests/data/README.md says which, and how."""

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from model.errors import BadUsage
from pipeline.cli.main import app
from pipeline.evaluate.seeds import load_group
from pipeline.evaluate.table_reader import read_rows
from pipeline.preprocess.dataset import check_dataset
from pipeline.preprocess.provenance import load_origin
from pipeline.preprocess.validation_config import check_validation
from pipeline.registry.history import find_champion, load_history
from pipeline.registry.stored_answers import load_answers_record
from pipeline.storage.tables import EVALUATION_TABLES, LATER_TABLES, SCHEMAS, TRAINING_TABLES
from pipeline.train.run_record import load_run
from tests.helpers import Digits, contents

DATA = Path(__file__).parent / "data"
# the champion and the challenger of each
RUNS = {
    "workspace-2026-11-26.tar.gz": ("article-manual-seed1-225066f2520a", "article-manual-seed1-4053df0ed0a6"),
    "workspace-2026-11-28.tar.gz": ("article-manual-seed1-cda291eeddc3", "article-manual-seed1-25c076c811f6"),
}
RETRAINED = ("--layers", "20,4,3", "--num-steps", 20)  # as the challenger


class Earlier(NamedTuple):
    folder: Path
    champion: str
    challenger: str


@pytest.fixture(scope="module", params=RUNS)
def written(request, tmp_path_factory) -> Earlier:
    folder = tmp_path_factory.mktemp("earlier") / "ws"
    with tarfile.open(DATA / request.param) as archive:
        archive.extractall(folder, filter="data")
    return Earlier(folder, *RUNS[request.param])


def command(*arguments: object) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"], obj=())
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def test_every_record_of_an_earlier_version_is_read(written):
    runs = [load_run(folder) for folder in sorted((written.folder / "runs").iterdir())]
    assert [run.config.seed for run in runs] == [1, 1, 2]
    for dataset in [check_dataset(folder) for folder in (written.folder / "datasets").iterdir()]:
        assert load_origin(written.folder, dataset.manifest.dataset_id).datasets[0].startswith("/srv/digits/")
        assert check_validation(written.folder, dataset).results
    [group] = (written.folder / "groups").iterdir()
    assert load_group(written.folder, group.stem).run_ids[0] == written.champion
    assert find_champion(written.folder) == load_history(written.folder).champion
    [answers] = written.folder.glob("registry/contests/*/*")
    assert load_answers_record(answers).run_id == written.champion


@pytest.mark.parametrize("table", [*TRAINING_TABLES, *EVALUATION_TABLES])
def test_every_table_of_an_earlier_version_has_the_columns_of_today(table, written):
    if table in LATER_TABLES:
        with pytest.raises(BadUsage, match=f"has no table {table}, since an earlier version of backbeam trained it"):
            read_rows(written.folder, table, written.champion)
        return
    assert read_rows(written.folder, table, written.champion).schema.names == SCHEMAS[table].names


def test_commands_find_an_earlier_workspace_sound_and_complete(written, tmp_path):
    before = contents(written.folder)
    where = ("--workspace", written.folder)
    assert command("verify", written.folder)["sound"]
    assert {run["run_id"] for run in command("runs", *where)["runs"]} >= {written.champion, written.challenger}
    assert command("champion", *where)["run_id"] == written.champion
    assert [entry["outcome"] for entry in command("history", *where)["entries"]] == ["promoted", "kept"]
    assert command("evaluate", written.challenger, *where)["skipped"] == ["evaluate"]
    page = tmp_path / "page.html"
    assert command("report", written.champion, "--to", page, *where)["num_bytes"] == page.stat().st_size
    after = contents(written.folder)
    assert {name: data for name, data in after.items() if name in before} == before


@pytest.mark.thorough
def test_model_of_an_earlier_version_predicts(written, tmp_path):
    images = Digits().write(tmp_path / "digits") / "t10k-images-idx3-ubyte"
    predictions = command("predict", images, "--run", written.champion, "--workspace", written.folder)["predictions"]
    assert [row["class_name"] for row in predictions] == [str(number % 3) for number in range(20)]


def test_retraining_of_an_earlier_version_needs_no_training(written, tmp_path):
    """The versions and the checks are part of the inputs, which may have changed; the run has not, as its bytes say."""
    before = (written.folder / "runs" / written.challenger / "run.json").read_bytes()
    source = Digits(num_train=90, num_test=30).write(tmp_path / "second")
    done = command("retrain", "--dataset", source, *RETRAINED, "--workspace", written.folder)
    assert (done["outcome"], done["entry"]) in {("kept", 3), ("unchanged", 2)}
    assert done["run_id"] == written.challenger
    assert (written.folder / "runs" / written.challenger / "run.json").read_bytes() == before


def test_an_earlier_workspace_is_migrated(written, tmp_path):
    workspace = shutil.copytree(written.folder, tmp_path / "ws")
    command("migrate", "--workspace", workspace)
    assert command("migrate", "--dry-run", "--workspace", workspace)["earlier"] == []
    assert command("verify", workspace)["sound"]
    assert command("evaluate", written.challenger, "--workspace", workspace)["skipped"] == ["evaluate"]
