"""Standard output and standard error that are full, closed, or have no reader."""

import os
import subprocess
import sys
import threading

import pytest

from model.errors import EngineFailed, StorageFailed
from pipeline.cli.main import main
from pipeline.cli.standard_streams import READER_GONE, protect_standard_streams
from pipeline.context import capture_engine_messages
from pipeline.message_streams import open_messages
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
    for kept in reversed(restored):
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


LOST = "backbeam: standard output cannot be written: [Errno 28] No space left on device; the result is not printed\n"


@pytest.mark.parametrize("arguments", RESULTS, ids=" ".join)
def test_result_that_nothing_takes_is_storage_failure_or_ends_silently(
    arguments, protected, full, monkeypatch, tmp_path
):
    reader, without_reader = os.pipe()
    os.close(reader)
    for output, code, message in ((full, StorageFailed.exit_code, LOST), (without_reader, READER_GONE, "")):
        with (tmp_path / "errors").open("w") as errors:
            protected(output, errors.fileno())
            assert run_main(monkeypatch, *arguments) == code
        assert (tmp_path / "errors").read_text() == message
    os.close(without_reader)


def test_exit_code_is_kept_if_standard_error_is_full(protected, full, monkeypatch, tmp_path):
    with (tmp_path / "out").open("w") as out:
        protected(out.fileno(), full)
        assert run_main(monkeypatch, "runs", "--workspace", str(tmp_path / "missing")) == 2
        assert run_main(monkeypatch, "gradcheck", "--recipe", "missing") == 2


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


def test_engine_log_is_written_if_standard_error_is_full(protected, full, tmp_path):
    def fail():
        with capture_engine_messages(tmp_path / "engine.log"):
            sys.stderr.write("said by backbeam\n")
            os.write(2, b"said by a library\n")
            raise EngineFailed("it broke")

    with (tmp_path / "out").open("w") as out:
        protected(out.fileno(), full)
        with pytest.raises(EngineFailed, match=r"what the engine wrote is in .*engine\.log"):
            fail()
    assert (tmp_path / "engine.log").read_bytes() == b"said by a library\n"


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
