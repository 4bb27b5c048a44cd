import gc
import importlib
import os
import sys
import threading

import pytest

from model.errors import EngineFailed
from pipeline.context import capture_engine_messages, quiet_imports
from pipeline.progress import messages_of_program, show_message


@pytest.fixture
def engine_thread():
    """A thread of an engine that fails twice: when it is started, and after `may_end` is set."""
    has_failed, may_end = threading.Event(), threading.Event()

    def work():
        sys.stderr.write("traceback of a worker\n")
        has_failed.set()
        may_end.wait(60)
        sys.stderr.write("traceback of a worker that lost its channel\n")
        raise RuntimeError("channel closed")

    thread = threading.Thread(target=work, daemon=True)
    thread.has_failed, thread.may_end = has_failed, may_end
    return thread


def fail_with(problem, thread, log, monkeypatch):
    monkeypatch.setattr(sys, "stderr", os.fdopen(2, "w", buffering=1, closefd=False))  # as in a command
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    with capture_engine_messages(log):
        thread.start()
        thread.has_failed.wait(60)
        os.write(2, b"a native library\n")
        show_message("a message")
        sys.stderr.write("interrupted\n")
        raise problem


def test_workers_in_threads_are_silent_after_a_signal_and_the_main_thread_is_not(
    engine_thread, tmp_path, capfd, monkeypatch
):
    with pytest.raises(SystemExit):
        fail_with(SystemExit(130), engine_thread, tmp_path / "engine.log", monkeypatch)
    engine_thread.may_end.set()
    engine_thread.join()
    sys.stderr.write("an error of the cleanup\n")
    lines = capfd.readouterr().err.splitlines()
    assert [line.rpartition("Z ")[2] for line in lines] == ["a message", "interrupted", "an error of the cleanup"]


def test_the_log_has_the_whole_error_and_what_workers_in_threads_write(engine_thread, tmp_path, capfd, monkeypatch):
    log = tmp_path / "engine.log"
    problem = EngineFailed("it broke")
    problem.__cause__ = RuntimeError("a trace\nof many\nlines")
    with pytest.raises(EngineFailed, match="it broke; what the engine wrote is in"):
        fail_with(problem, engine_thread, log, monkeypatch)
    written = log.read_text()
    assert written == "RuntimeError: a trace\nof many\nlines\ntraceback of a worker\na native library\n"
    assert "traceback" not in capfd.readouterr().err
    engine_thread.may_end.set()  # now, as pytest would report its error in the test that runs a minute later
    engine_thread.join()


def test_the_log_has_the_error_of_an_engine_that_writes_nothing(tmp_path):
    with pytest.raises(EngineFailed), capture_engine_messages(tmp_path / "engine.log"):
        raise EngineFailed("it broke") from RuntimeError("why")
    assert (tmp_path / "engine.log").read_text() == "RuntimeError: why\n"


def test_an_error_without_words_of_an_engine_leaves_no_log(tmp_path):
    with pytest.raises(EngineFailed), capture_engine_messages(tmp_path / "engine.log"):
        raise EngineFailed("it wrote no manifest")
    assert not (tmp_path / "engine.log").exists()


@pytest.mark.parametrize("is_writable", [True, False])
def test_the_log_of_an_earlier_job_is_deleted_where_the_disk_may_be_written(is_writable, tmp_path, monkeypatch):
    log = tmp_path / "engine.log"
    log.write_text("of an earlier job")
    monkeypatch.setattr(os, "access", lambda place, mode: is_writable)
    with capture_engine_messages(log):
        pass
    assert log.exists() is not is_writable


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Packages without code, of which none is imported: `keras` and one of the test's own."""
    for name in ("keras/src/optimizers", "quickly_imported"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("keras", "keras.src", "keras.src.optimizers", "quickly_imported"):
        monkeypatch.setitem(sys.modules, name, None)  # so that it is as before after the test
        monkeypatch.delitem(sys.modules, name)


def test_tensorflow_is_imported_without_keras_which_can_be_imported_later(modules):
    with quiet_imports(), pytest.raises(ImportError):
        importlib.import_module("keras.src.optimizers")  # as TensorFlow does, which goes on without it
    assert "keras" not in sys.modules
    importlib.import_module("keras.src.optimizers")


def test_a_program_that_imports_backbeam_has_keras(modules):
    with messages_of_program(verbose=False), quiet_imports():
        importlib.import_module("keras.src.optimizers")


def test_garbage_is_collected_again_after_imports_but_for_what_they_made(modules):
    num_frozen = gc.get_freeze_count()
    with quiet_imports():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == num_frozen
    with quiet_imports():
        importlib.import_module("quickly_imported")
    assert gc.get_freeze_count() > num_frozen
