import errno
import os
import re
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from model.errors import StorageFailed
from pipeline import progress
from pipeline.message_streams import open_messages
from pipeline.progress import configure, log_error, show_message, show_progress, warn

FULL = Path("/dev/full")  # a device without space

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ "


@pytest.fixture(autouse=True)
def default_settings():
    yield
    configure()


@pytest.mark.parametrize("quiet", [False, True])
def test_lines_begin_with_the_time_and_quiet_shows_warnings_only(quiet, capsys):
    configure(quiet)
    show_message("at work")
    warn("look at this")
    shown = "" if quiet else f"{TIME}at work\n"
    assert re.fullmatch(f"{shown}{TIME}look at this\n", capsys.readouterr().err)


def test_all_messages_are_appended_to_the_log_file(tmp_path):
    log = tmp_path / "log"
    log.write_text("earlier\n")
    configure(quiet=True, log_file=log)
    show_message("at work")
    warn("look at this")
    log_error("no")
    configure()
    show_message("not in the file")
    assert re.fullmatch(f"earlier\n{TIME}at work\n{TIME}look at this\n{TIME}error: no\n", log.read_text())


def test_a_log_file_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(OSError, match="missing"):
        configure(log_file=tmp_path / "missing" / "log")


def test_the_duration_of_work_is_printed_at_its_end(capsys):
    with show_progress("reading", 1200, "examples", lambda: 1.0, seconds=0.0):
        pass
    assert re.fullmatch(rf"{TIME}reading: 1,200 examples in 0\.\d s, [\d,]+ a second\n", capsys.readouterr().err)


def test_long_work_prints_progress_lines_without_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    monkeypatch.setattr(progress, "POLL_SECONDS", 0.01)
    with show_progress("reading", 1000, "examples", lambda: 0.25, seconds=0.0):
        deadline = time.monotonic() + 30
        shown = ""
        while "250 of" not in shown and time.monotonic() < deadline:
            time.sleep(0.01)
            shown += capsys.readouterr().err
    assert re.search(rf"{TIME}reading: 250 of 1,000 examples, [\d,]+ a second, \d:\d\d:\d\d left\n", shown)


def test_work_ends_while_a_count_of_what_is_done_is_not_answered(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    monkeypatch.setattr(progress, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(progress, "_STOP_SECONDS", 0.01)
    asked = threading.Event()
    answered = threading.Event()

    def share_done():
        asked.set()
        answered.wait()
        return 0.25

    with show_progress("reading", 5, "examples", share_done, seconds=0.0):
        asked.wait()
        [watcher] = [thread for thread in threading.enumerate() if thread.name == "watch reading"]
    answered.set()
    watcher.join()
    assert re.fullmatch(rf"{TIME}reading: 5 examples in .*\n", capsys.readouterr().err)


@pytest.mark.parametrize("problem", [StorageFailed("no answer"), FileNotFoundError()])
def test_a_count_that_fails_is_tried_again(problem, monkeypatch):
    monkeypatch.setattr(progress, "POLL_SECONDS", 0.01)
    counted_again = threading.Event()
    problems = [problem]

    def share_done():
        if problems:
            raise problems.pop()
        counted_again.set()
        return 0.5

    with show_progress("reading", 5, "examples", share_done, seconds=0.0):
        assert counted_again.wait(60)


def test_failed_work_is_not_reported_as_finished(capsys):
    with pytest.raises(ValueError, match="broken"), show_progress("reading", 5, "examples", lambda: 0.0, seconds=0.0):
        raise ValueError("broken")
    assert "examples in" not in capsys.readouterr().err


def test_names_between_colons_are_not_shown_as_emoji_and_control_characters_are_replaced(capsys):
    show_message("data:one:labels of \x1b]0;title\x07")
    shown = capsys.readouterr().err
    assert "data:one:labels" in shown
    assert not set("\x1b\x07") & set(shown)


def test_a_message_of_a_signal_handler_does_not_wait_for_the_log_file(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "LOCK_SECONDS", 0.01)
    configure(log_file=tmp_path / "log")
    with progress._settings.lock:  # as if a signal arrived while a line is written
        log_error("left out")
    log_error("written")
    configure()
    assert (tmp_path / "log").read_text().endswith(" written\n")
    assert "left out" not in (tmp_path / "log").read_text()


@contextmanager
def full_standard_error(monkeypatch):
    with open_messages(os.open(FULL, os.O_WRONLY)) as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        yield


def test_a_full_standard_error_is_reported_once_in_the_log_file(tmp_path, monkeypatch):
    configure(log_file=tmp_path / "log")
    with full_standard_error(monkeypatch):
        show_message("at work")
        warn("look at this")
    configure()
    full = "standard error cannot be written, and work goes on: .*No space left on device"
    assert re.fullmatch(f"{TIME}at work\n{TIME}{full}\n{TIME}look at this\n", (tmp_path / "log").read_text())


def test_a_full_log_file_is_reported_once_on_standard_error(capsys):
    configure(log_file=FULL)
    show_message("at work")
    warn("look at this")
    configure()
    full = "the log file cannot be written, and work goes on: .*No space left on device"
    assert re.fullmatch(f"{TIME}{full}\n{TIME}at work\n{TIME}look at this\n", capsys.readouterr().err)


def test_work_continues_if_no_message_can_be_written(monkeypatch):
    configure(log_file=FULL)
    with full_standard_error(monkeypatch), show_progress("reading", 5, "examples", lambda: 1.0, seconds=0.0):
        show_message("at work")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_work_continues_without_a_log_file_on_a_full_disk(number, capsys, monkeypatch, tmp_path):
    def raise_full(file):
        raise OSError(number, os.strerror(number), str(file))

    configure(log_file=tmp_path / "first")
    monkeypatch.setattr(progress, "open_messages", raise_full)
    configure(log_file=tmp_path / "second")
    show_message("at work")
    assert re.fullmatch(f"{TIME}the log file cannot be written.*\n{TIME}at work\n", capsys.readouterr().err)
    assert (tmp_path / "first").read_text() == ""


def test_work_continues_when_the_terminal_of_a_progress_bar_is_closed(monkeypatch):
    controller, terminal = os.openpty()
    os.close(controller)
    with open_messages(terminal) as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        patch.setattr(progress.console, "_force_terminal", True)
        assert progress.shows_bars()
        with show_progress("reading", 5, "examples", lambda: 1.0, seconds=0.0):
            show_message("at work")
