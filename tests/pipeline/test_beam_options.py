"""Options for Beam are checked when they are read, whether or not the work needs a job."""

import pytest

from model.errors import BadUsage
from pipeline import beam_options
from pipeline.beam_options import read_beam_options
from tests.helpers import contents, run_in_process


@pytest.mark.parametrize("runner", ["FlinkRunner", "flink", "apache_beam.runners.portability.flink_runner.FlinkRunner"])
def test_options_that_only_a_job_server_knows_are_passed_on_with_a_warning(runner, capsys):
    given = (f"--runner={runner}", "--object_reuse", "--fasterCopy=true")
    assert read_beam_options(given, None) == given
    assert "Beam does not know, and the job server may: --fasterCopy, --object_reuse" in capsys.readouterr().err
    with pytest.raises(BadUsage, match="does not know: --object_reuse"):
        read_beam_options(["--object_reuse"], None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runner=NoSuchRunner"], "Beam: .*NoSuchRunner"),
        (["--dry_run=True"], "--dry_run=True goes with --runner=DataflowRunner"),
        (["no_option"], "begin with --"),
        (["--runner=FlinkRunner"], "--workers 2 and --runner=FlinkRunner"),
    ],
)
def test_an_engine_that_is_unknown_or_does_not_fit_is_refused(arguments, message):
    with pytest.raises(BadUsage, match=message):
        read_beam_options(arguments, 2 if "FlinkRunner" in arguments[0] else None)


def test_a_value_that_an_option_does_not_take_is_a_usage_error_in_one_line(capsys):
    with pytest.raises(BadUsage, match=r"^Beam: argument --number_of_worker_harness_threads: invalid int value: 'x'$"):
        read_beam_options(["--number_of_worker_harness_threads=x"], None)
    assert capsys.readouterr().err == ""


def test_workers_alone_need_no_check_by_beam(monkeypatch):
    monkeypatch.setattr(beam_options, "_check", lambda arguments: pytest.fail("Beam was imported"))
    assert read_beam_options((), None) == ()
    assert read_beam_options((), 2)[-1] == "--direct_num_workers=2"


@pytest.mark.parametrize(
    "command",
    [
        ("run",),
        ("preprocess",),
        ("validate",),
        ("evaluate",),
        ("retrain",),
        ("promote",),
        ("verify",),
        ("schedule", "--cron", "0 3 * * *"),
    ],
    ids=" ".join,
)
def test_every_command_refuses_an_option_that_beam_does_not_know_before_any_work(command, tmp_path):
    (tmp_path / "ws" / "datasets").mkdir(parents=True)
    done = run_in_process(*command, "--workspace", tmp_path / "ws", "--", "--no_such_option")
    assert done.code == 2
    assert done.err.splitlines()[-1].endswith("options that Beam does not know: --no_such_option")
    assert contents(tmp_path) == {}
