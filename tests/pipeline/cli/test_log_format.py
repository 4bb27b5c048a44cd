"""--log-format json: every line of standard error is a JSON object, whatever a command does."""

import json
import re
import sys

import pytest
from typer.main import get_command

from pipeline import progress
from pipeline.cli.log_format import asks_for_json_lines
from pipeline.cli.main import app, main
from pipeline.progress import configure, error_line, show_message, show_progress, warn, write_json_lines


@pytest.fixture(autouse=True)
def text_afterwards():
    yield
    write_json_lines(False)
    configure()


def objects(text):
    found = [json.loads(line) for line in text.splitlines()]
    for each in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", each.pop("time"))
    return found


def run_main(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["backbeam", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code or 0, objects(capsys.readouterr().err)


def test_every_command_has_the_option():
    for name, command in get_command(app).commands.items():
        assert "--log-format" in [option for each in command.params for option in each.opts], name


def test_messages_have_level_event_and_fields(capsys, tmp_path):
    write_json_lines(True)
    configure(log_file=tmp_path / "log")
    show_message("train: \x1b[1mworking", "stage_started", stage="train")
    warn("two\nlines")
    lines = capsys.readouterr().err
    assert (tmp_path / "log").read_text() == lines
    assert objects(lines) == [
        {"level": "info", "event": "stage_started", "stage": "train", "message": "train: \x1b[1mworking"},
        {"level": "warning", "event": "message", "message": "two\nlines"},
    ]
    assert lines.isprintable() or all(line.isprintable() for line in lines.splitlines())


def test_the_end_of_work_has_its_seconds_and_counts(capsys):
    write_json_lines(True)
    with show_progress("verify", 12, "files", lambda: 1.0, seconds=0.0):
        pass
    [done] = objects(capsys.readouterr().err)
    assert (done["event"], done["stage"], done["counts"]) == ("work_finished", "verify", {"files": 12})
    assert done["seconds"] >= 0


def test_json_lines_leave_no_room_for_bars(monkeypatch):
    monkeypatch.setattr(type(progress.console), "is_terminal", True)
    assert progress.shows_bars()
    write_json_lines(True)
    assert not progress.shows_bars()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("runs", "--workspace", "missing"), "no workspace"),
        (("runs", "--bad"), "no such option: '--bad'"),
        (("run", "--max-rejected", "many"), "Invalid value for '--max-rejected'"),
    ],
)
def test_an_error_is_a_json_line_with_its_code(arguments, message, monkeypatch, capsys):
    code, [error] = run_main(monkeypatch, capsys, *arguments, "--log-format", "json")
    assert (code, error["code"], error["kind"], error["level"]) == (2, 2, "BadUsage", "error")
    assert message in error["message"]


def test_what_a_signal_handler_writes_is_a_json_line():
    assert error_line("terminated", code=143, kind="Terminated") == "backbeam: terminated"
    write_json_lines(True)
    [error] = objects(error_line("terminated", code=143, kind="Terminated"))
    assert (error["event"], error["code"], error["kind"]) == ("error", 143, "Terminated")


def test_a_refused_command_ends_with_its_code(monkeypatch, capsys, tmp_path):
    arguments = ("schedule", "--check", "--workspace", str(tmp_path))
    code, [error] = run_main(monkeypatch, capsys, *arguments, "--log-format=json")
    assert (code, error["level"]) == (1, "error")
    assert "no scheduler was started" in error["message"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["runs", "--log-format", "json"], True),
        (["runs", "--log-format=json"], True),
        (["runs", "--log-format", "text"], False),
        (["json", "--log-format"], False),
        ([], False),
    ],
)
def test_the_format_is_known_before_the_options_are_parsed(arguments, expected):
    assert asks_for_json_lines(arguments) == expected
