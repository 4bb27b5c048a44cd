"""Errors as JSON: one object on standard output, beside the text on standard error and the exit code."""

import json
import os
import signal
import sys

import pytest

from model.errors import BadUsage, CorruptArtefact, recover
from pipeline.cli.error_output import report_errors
from pipeline.cli.main import main
from pipeline.cli.output import print_json


def run_main(monkeypatch, capsys, *arguments):
    """Run the command line in this process; return the exit code and what it printed."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr(sys, "argv", ["backbeam", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    return ended.value.code, *capsys.readouterr()


def end_with(problem, *received, after=None):
    """Raise an error inside `report_errors`, after an object was printed; return the exit code."""

    def fail():
        if after:
            print_json(after)
        raise problem

    with pytest.raises(SystemExit) as ended, report_errors(True, received):
        fail()
    return ended.value.code


def test_deleted_current_folder_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    code, _, err = run_main(monkeypatch, capsys, "runs")
    assert (code, err) == (5, "backbeam: storage: the current folder was deleted: change to one that exists\n")


def test_error_is_an_object(tmp_path, monkeypatch, capsys):
    (tmp_path / "runs").mkdir()
    arguments = ("champion", "--workspace", str(tmp_path), "--json")
    code, out, err = run_main(monkeypatch, capsys, *arguments)
    hint = "`backbeam retrain` or `backbeam promote RUN` makes one"
    message = f"{tmp_path} has no champion yet; {hint}"
    assert json.loads(out) == {"error": {"code": 2, "kind": "BadUsage", "message": message, "hint": hint}}
    assert (code, err) == (2, f"backbeam: {message}\n")
    assert run_main(monkeypatch, capsys, *arguments[:-1]) == (code, "", err)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ("run --seed x --json", "Invalid value for '--seed': ", "backbeam run --help"),
        ("promote --force --json", "--force needs --why", "backbeam promote --help"),
        ("compare --json", "Missing argument 'A'", "backbeam compare --help"),
        ("nonsense --json", "No such command 'nonsense'", "backbeam --help"),
        ("runs --zzz --json", "runs: no such option: '--zzz'", None),
        ("--zzz --json", "No such option: --zzz", "backbeam --help"),
        ("runs --log-format jsn --json", "Invalid value for '--log-format': 'jsn' is not", "backbeam runs --help"),
        ("schedule --cron @daily --seed x --json", "Invalid value for '--seed': ", "backbeam retrain --help"),
        ("schedule --json", "--cron is missing: say when to run", "backbeam schedule --help"),
    ],
)
def test_usage_error_is_an_object(arguments, message, hint, monkeypatch, capsys):
    code, out, err = run_main(monkeypatch, capsys, *arguments.split())
    error = json.loads(out)["error"]
    assert (code, error["code"], error["kind"], error["hint"]) == (2, 2, "BadUsage", hint)
    assert error["message"].startswith(message)
    assert err == f"backbeam: {error['message']}\n"
    assert (hint or "") in error["message"]
    assert run_main(monkeypatch, capsys, *arguments.split()[:-1])[1:] == ("", err)


def test_a_path_that_is_no_utf_8_is_text_in_the_object(tmp_path, monkeypatch, capsys):
    arguments = ("runs", "--workspace", f"{tmp_path}/ws\udcff", "--json", "--log-format", "json")
    code, out, err = run_main(monkeypatch, capsys, *arguments)
    assert code == 2
    for line in (json.loads(out)["error"], json.loads(err)):
        assert rf"{tmp_path}/ws\udcff:" in line["message"]
        assert line["message"].encode()


def test_without_a_command_only_the_help_is_shown(monkeypatch, capsys):
    code, out, err = run_main(monkeypatch, capsys)
    assert (code, "Usage: backbeam" in out + err) == (2, True)
    assert "backbeam: " not in out + err


def test_storage_failures_and_signals_are_objects(capsys):
    assert end_with(OSError(28, "No space left on device")) == 5
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "StorageFailed"
    for number, kind in ((signal.SIGINT, "Interrupted"), (signal.SIGTERM, "Terminated")):
        for problem in (SystemExit(128 + number), CorruptArtefact("a bundle failed")):
            assert end_with(problem, number) == 128 + number
            error = json.loads(capsys.readouterr().out)["error"]
            assert (error["code"], error["kind"]) == (128 + number, kind)


def test_result_stays_the_only_object(capsys):
    assert end_with(CorruptArtefact("one file"), after={"sound": False}) == 4
    assert json.loads(capsys.readouterr().out) == {"sound": False}


@pytest.mark.parametrize("reason", ["full", "no reader"])
def test_exit_code_is_kept_if_standard_output_cannot_take_the_object(reason, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    descriptor = os.open("/dev/full", os.O_WRONLY) if reason == "full" else writer
    with os.fdopen(descriptor, "w", closefd=True) as stream:
        monkeypatch.setattr(sys, "__stdout__", stream)
        monkeypatch.setattr(sys, "stdout", stream)
        kept = os.dup(1)
        os.dup2(descriptor, 1)
        try:
            code, _, err = run_main(monkeypatch, capsys, "gradcheck", "--recipe", "missing", "--json")
        finally:
            os.dup2(kept, 1)
            os.close(kept)
    assert code == 2
    assert err.startswith("backbeam: unknown recipe 'missing'")


def test_hint_ends_the_message():
    problem = BadUsage("there is none", hint="make one")
    assert (str(problem), problem.hint) == ("there is none; make one", "make one")
    assert str(recover(ValueError(f"model.errors.BadUsage: {problem}"))) == str(problem)
    assert BadUsage("there is none").hint is None


def test_the_step_that_beam_appends_is_left_out():
    recovered = recover(BadUsage("there is none [while running 'Predict/Map(SameCode(predict_shard))']"))
    assert (type(recovered), str(recovered)) == (BadUsage, "there is none")
