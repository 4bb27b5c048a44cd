"""The file of metrics, after successes and failures of commands."""

import json
import os
from errno import ENOSPC
from pathlib import Path

import pytest
import typer
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from model.errors import CorruptArtefact, EngineFailed, NothingRun
from pipeline.cli.main import app
from pipeline.schedule import metrics_file
from pipeline.schedule.metrics_file import MetricsFile, Sample
from tests.helpers import Digits

ACCURACY = Sample("backbeam_accuracy", 0.75, {"split": "test"})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.prom"


@pytest.fixture
def clock(monkeypatch):
    def set_clock(seconds):
        monkeypatch.setattr(metrics_file.time, "time", lambda: seconds)

    set_clock(1000)
    return set_clock


def read(path):
    families = text_string_to_metric_families(path.read_text())
    samples = [sample for family in families for sample in family.samples]
    assert all("workspace" in sample.labels for sample in samples)
    labels = [{**sample.labels, "workspace": ""} for sample in samples]
    return {
        (sample.name.removeprefix("backbeam_"), *filter(None, label.values())): sample.value
        for sample, label in zip(samples, labels, strict=True)
    }


def test_a_success_is_recorded(path, clock, tmp_path):
    MetricsFile(path, tmp_path).record_success([ACCURACY])
    last = {("last_end_timestamp_seconds",): 1000, ("last_success_timestamp_seconds",): 1000, ("last_exit_code",): 0}
    assert read(path) == last | {("accuracy", "test"): 0.75}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CorruptArtefact("x"), 4),
        (EngineFailed("x"), 7),
        (OSError(ENOSPC, "full"), 5),
        (typer.BadParameter("x"), 2),
        (SystemExit(143), 143),
        (MemoryError(), 1),
    ],
)
def test_a_failure_keeps_the_figures_of_the_last_success(error, code, path, clock, tmp_path):
    file = MetricsFile(path, tmp_path)
    file.record_success([ACCURACY])
    clock(2000)
    with pytest.raises(type(error)), file.records_failures():
        raise error
    assert read(path) == {
        ("last_end_timestamp_seconds",): 2000,
        ("last_success_timestamp_seconds",): 1000,
        ("last_exit_code",): code,
        ("accuracy", "test"): 0.75,
    }


def test_before_the_first_success_its_time_is_0(path, clock, tmp_path):
    MetricsFile(path, tmp_path).record_failure(3)
    assert read(path)["last_success_timestamp_seconds",] == 0


def test_figures_of_another_workspace_are_not_kept(path, tmp_path):
    MetricsFile(path, tmp_path / "other").record_success([ACCURACY])
    MetricsFile(path, tmp_path).record_failure(3)
    assert read(path)["last_success_timestamp_seconds",] == 0
    assert ("accuracy", "test") not in read(path)


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"backbeam_accuracy{", b"backbeam_accuracy one\n"])
def test_a_damaged_file_is_replaced(damage, path, tmp_path, capsys):
    path.write_bytes(damage)
    MetricsFile(path, tmp_path).record_failure(3)
    assert read(path)["last_exit_code",] == 3
    assert "the figures of the last success are lost" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_stays_as_it_is(path, tmp_path, monkeypatch, capsys):
    MetricsFile(path, tmp_path).record_success([ACCURACY])
    before = path.read_bytes()

    def fail(*_, **__):
        raise PermissionError("not yours")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", fail)
        MetricsFile(path, tmp_path).record_failure(3)
    assert path.read_bytes() == before
    assert "m.prom cannot be read, and stays as it is: not yours" in capsys.readouterr().err


def test_samples_with_other_labels_than_their_metric_has_are_not_kept(path, tmp_path, capsys):
    file = MetricsFile(path, tmp_path)
    file.record_success([ACCURACY])
    with path.open("a") as end:
        end.write(f'backbeam_accuracy{{workspace="{tmp_path}",part="test"}} 0.5\n')
        end.write(f'backbeam_champion_version{{workspace="{tmp_path}",part="test"}} 3\n')
    file.record_failure(3)
    assert read(path)["accuracy", "test"] == 0.75
    assert "part=" not in path.read_text()
    assert capsys.readouterr().err == ""


def test_samples_that_the_format_cannot_hold_are_a_warning(path, tmp_path, capsys):
    MetricsFile(path, tmp_path).record_success([ACCURACY, Sample("backbeam_accuracy", 0.5, {"part": "test"})])
    assert "m.prom cannot be written, and stays as it is: Incorrect label names" in capsys.readouterr().err
    assert not path.exists()


def test_a_path_that_is_no_utf_8_is_escaped(path, clock, tmp_path):
    file = MetricsFile(path, tmp_path / os.fsdecode(b"ws\xff"))
    file.record_success([ACCURACY])
    file.record_failure(3)
    assert read(path)["last_success_timestamp_seconds",] == 1000
    assert read(path)["accuracy", "test"] == 0.75
    assert r"ws\\udcff" in path.read_text()


def test_a_job_that_was_only_built_changes_nothing(path, tmp_path):
    with pytest.raises(NothingRun), MetricsFile(path, tmp_path).records_failures():
        raise NothingRun("built")
    assert not path.exists()


def test_a_file_that_cannot_be_written_is_a_warning(tmp_path, capsys):
    (tmp_path / "file").touch()
    MetricsFile(tmp_path / "file" / "m.prom", tmp_path).record_success([ACCURACY])
    assert "m.prom cannot be written" in capsys.readouterr().err


def test_no_file_is_written_without_the_option(tmp_path):
    file = MetricsFile(None, tmp_path)
    file.record_success([ACCURACY])
    file.record_failure(3)
    assert list(tmp_path.iterdir()) == []


def test_retraining_tells_its_figures_and_then_its_failure(path, tmp_path):
    source = Digits().write(tmp_path / "digits")
    options = (
        "--layers",
        "20,4,3",
        "--num-steps",
        "20",
        "--workspace",
        str(tmp_path / "ws"),
        "--metrics-file",
        str(path),
    )
    done = CliRunner().invoke(app, ["retrain", "--dataset", str(source), *options, "--json"], obj=())
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout.splitlines()[-1])
    found = read(path)
    [evaluation] = (tmp_path / "ws").glob("runs/*/evaluation.json")
    results = {result["split"]: result for result in json.loads(evaluation.read_bytes())["results"]}
    assert found["accuracy", "test"] == results["test"]["accuracy"]
    assert found["accuracy_low", "test"] == results["test"]["accuracy_low"]
    assert found["examples", "train"] == results["train"]["num_examples"]
    assert printed["champion"] is None
    assert found["champion_version",] == 0
    assert found["rejected_examples",] == 0
    assert found["dataset_bytes",] == sum(shard.stat().st_size for shard in tmp_path.glob("ws/datasets/*/*.tfrecord"))
    assert {"train", "evaluate", "decide"} <= {key[1] for key in found if key[0] == "stage_seconds"}
    for damaged in (tmp_path / "ws").glob("datasets/*/train-*"):
        damaged.write_bytes(b"")
    done = CliRunner().invoke(app, ["retrain", "--dataset", str(source), *options], obj=())
    assert isinstance(done.exception, CorruptArtefact)
    after = read(path)
    assert after["last_exit_code",] == 4
    ended = {("last_exit_code",): 4, ("last_end_timestamp_seconds",): after["last_end_timestamp_seconds",]}
    assert after == found | ended


def test_inputs_whose_run_was_deleted_are_described_without_it(path, tmp_path):
    source = Digits().write(tmp_path / "digits")
    settings = ("--layers", "20,4,3", "--num-steps", "20", "--metrics-file", str(path))
    workspace = ("--workspace", str(tmp_path / "ws"))

    def call(*arguments):
        done = CliRunner().invoke(app, [*arguments, *workspace], obj=())
        assert done.exit_code == 0, done.output
        return done

    call("retrain", "--dataset", str(source), *settings)
    [run] = (tmp_path / "ws").glob("runs/*/run.json")
    call("rm", run.parent.name)
    call("retrain", "--dataset", str(source), *settings)
    found = read(path)
    assert found["last_exit_code",] == 0
    assert found["examples", "train"] == 60
    assert not {"accuracy", "run_bytes"} & {key[0] for key in found}
