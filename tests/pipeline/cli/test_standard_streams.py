"""Standard output and standard error that are full, closed, or have no reader."""

import os
import subprocess
import sys
import threading

import pytest

from model.errors import EngineFailed, StorageFailed
from pipeline.beam_runner import capture_engine_messages
from pipeline.cli.main import main
from pipeline.cli.standard_streams import READER_GONE, protect_standard_streams
from pipeline.context import quiet_imports
from pipeline.progress import dropped_error, open_messages
from tests.helpers import BACKBEAM

RESULTS = (["--version"], ["--help"], ["recipes"], ["recipes", "--json"], ["run", "--help"])


@pytest.fixture
def protected(monkeypatch):
    """Return a function that puts other descriptors in place of 1 and 2, and protects the streams on them."""

    def protect(output, error):
        for name, descriptor in (("stdout", output), ("stderr", error)):
            stream = os.fdopen(descriptor, "w", closefd=False)
            monkeypatch.setattr(sys, f"__{name}__", stream)
            monkeypatch.setattr(sys, name, stream)
        kept = {number: os.dup(number) for number in (1, 2)}
        os.dup2(output, 1)
        os.dup2(error, 2)
        protect_standard_streams()
        restored.append(kept)

    restored: list[dict[int, int]] = []
    yield protect
    for kept in restored:
        for number, descriptor in kept.items():
            os.dup2(descriptor, number)
            os.close(descriptor)


@pytest.fixture
def full():
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["backbeam", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize("arguments", RESULTS, ids=" ".join)
def test_result_that_does_not_fit_on_disk_is_storage_failure(arguments, protected, full, monkeypatch, tmp_path):
    with (tmp_path / "errors").open("w") as errors:
        protected(full, errors.fileno())
        assert run_main(monkeypatch, *arguments) == StorageFailed.exit_code
    assert (tmp_path / "errors").read_text() == (
        "backbeam: standard output cannot be written: [Errno 28] No space left on device; the result is not printed\n"
    )


@pytest.mark.parametrize("arguments", RESULTS, ids=" ".join)
def test_result_without_reader_ends_without_message(arguments, protected, monkeypatch, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    with (tmp_path / "errors").open("w") as errors:
        protected(writer, errors.fileno())
        assert run_main(monkeypatch, *arguments) == READER_GONE
    os.close(writer)
    assert (tmp_path / "errors").read_text() == ""


def test_exit_code_is_kept_if_standard_error_is_full(protected, full, monkeypatch, tmp_path):
    with (tmp_path / "out").open("w") as out:
        protected(out.fileno(), full)
        assert run_main(monkeypatch, "runs", "--workspace", str(tmp_path / "missing")) == 2
        assert run_main(monkeypatch, "gradcheck", "--recipe", "missing") == 2


def test_messages_that_do_not_fit_are_dropped_and_later_ones_written(tmp_path):
    place = tmp_path / "log"
    with open_messages(place) as stream:
        os.dup2(os.open("/dev/full", os.O_WRONLY), stream.fileno())
        stream.write("lost\n")
        assert "No space left" in str(dropped_error(stream))
        os.dup2(os.open(place, os.O_WRONLY), stream.fileno())
        stream.write("kept\n")
    assert place.read_text() == "kept\n"


def test_non_blocking_stream_receives_everything():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    received = []
    with os.fdopen(reader) as read:
        thread = threading.Thread(target=lambda: received.append(read.read()))
        thread.start()
        with open_messages(writer) as stream:
            stream.write("x" * 2**20)  # more than a pipe holds
        thread.join()
    assert received == ["x" * 2**20]


def run_with_closed(descriptors, *arguments, command=(BACKBEAM,)):
    """Run a command, backbeam by default, with some descriptors closed."""
    redirections = " ".join(f"{number}>&-" for number in descriptors)
    shell = ["sh", "-c", f'exec "$@" {redirections}', "sh", *command, *arguments]
    return subprocess.run([*map(str, shell)], capture_output=True, text=True, timeout=60)


def test_closed_standard_output_is_storage_failure():
    done = run_with_closed([0, 1], "recipes", "--json")
    assert done.returncode == StorageFailed.exit_code
    assert done.stderr.startswith("backbeam: standard output cannot be written: [Errno 9]")


def test_no_file_gets_descriptor_of_closed_standard_error(tmp_path):
    code = (
        "import os, sys; from pipeline.cli.standard_streams import protect_standard_streams as protect; protect(); "
        "sys.stderr.write('dropped'); print(open(sys.argv[1], 'w').fileno() > 2, os.get_inheritable(2))"
    )
    done = run_with_closed([0, 2], tmp_path / "file", command=(sys.executable, "-c", code))
    assert (done.returncode, done.stdout, (tmp_path / "file").read_text()) == (0, "True True\n", "")


def fail_within(context, problem):
    """Write to sys.stderr and to descriptor 2 in a context, and raise an error there."""
    with context:
        sys.stderr.write("said by backbeam\n")
        os.write(2, b"said by a library\n")
        raise problem


def test_engine_log_is_written_if_standard_error_is_full(protected, full, tmp_path):
    log = tmp_path / "engine.log"
    with (tmp_path / "out").open("w") as out:
        protected(out.fileno(), full)
        with pytest.raises(EngineFailed, match=r"what the engine wrote is in .*engine\.log"):
            fail_within(capture_engine_messages(log), EngineFailed("it broke"))
    assert log.read_bytes() == b"said by a library\n"


def test_import_error_is_raised_if_standard_error_is_full(protected, full, tmp_path):
    with (tmp_path / "out").open("w") as out:
        protected(out.fileno(), full)
        with pytest.raises(ImportError, match="library"):
            fail_within(quiet_imports(), ImportError("library"))


RUN = ("run", "--num-steps", "20", "--num-shards", "3")


def test_run_does_its_work_if_standard_error_is_full(protected, full, monkeypatch, digits_folder, tmp_path):
    with (tmp_path / "out").open("w") as out:
        protected(out.fileno(), full)
        place = ("--workspace", str(tmp_path / "ws"), "--dataset", str(digits_folder))
        assert run_main(monkeypatch, *RUN, *place) == 0
    assert len([*tmp_path.glob("ws/runs/*/evaluation.json")]) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "redirection"),
    [
        (RUN, "2>&-"),
        *((("schedule", "--cron=@daily", "--once", *RUN[1:]), each) for each in ("2>/dev/full", ">&- 2>&-")),
    ],
)
def test_commands_do_their_work_where_streams_take_nothing(command, redirection, digits_folder, tmp_path):
    words = [BACKBEAM, *command, "--workspace", tmp_path / "ws", "--dataset", digits_folder]
    done = subprocess.run(["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *words], timeout=300)
    assert done.returncode == 0
    assert len([*tmp_path.glob("ws/runs/*/evaluation.json")]) == 1
