"""IDX files of any size and content, and functions that run the real command."""

import contextlib
import fnmatch
import gzip
import io
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from pipeline import progress
from pipeline.sources.catalog import FILE_NAMES

# the console script in the environment of the interpreter that runs the tests
BACKBEAM = Path(sys.executable).with_name("backbeam")
START_SECONDS = 60  # of a server


def idx_bytes(magic: int, values: np.ndarray) -> bytes:
    return np.array([magic, *values.shape], ">u4").tobytes() + values.astype(np.uint8).tobytes()


def images_bytes(images: np.ndarray) -> bytes:
    return idx_bytes(0x803, images)


def labels_bytes(labels: np.ndarray) -> bytes:
    return idx_bytes(0x801, np.asarray(labels))


@dataclass
class Digits:
    """Synthetic images of any size. Each class has its own bright pixels, so that a network can learn it."""

    num_train: int = 60
    num_test: int = 20
    height: int = 5
    width: int = 4
    num_classes: int = 3
    seed: int = 0

    def split(self, number: int, num_examples: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng((self.seed, number))
        labels = np.arange(num_examples) % self.num_classes
        patterns = np.random.default_rng(self.seed).integers(0, 2, (self.num_classes, self.height, self.width)) * 200
        noise = random.integers(0, 56, (num_examples, self.height, self.width))
        return (patterns[labels] + noise).astype(np.uint8), labels.astype(np.uint8)

    def files(self) -> dict[str, bytes]:
        train_images, train_labels = self.split(0, self.num_train)
        test_images, test_labels = self.split(1, self.num_test)
        files = (
            images_bytes(train_images),
            labels_bytes(train_labels),
            images_bytes(test_images),
            labels_bytes(test_labels),
        )
        return dict(zip(FILE_NAMES, files, strict=True))

    def write(self, folder: Path, compress: bool = False) -> Path:
        return write_files(folder, self.files(), compress)


def write_files(folder: Path, files: dict[str, bytes], compress: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(data, mtime=0))
        else:
            (folder / name).write_bytes(data)
    return folder


@dataclass
class Finished:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def backbeam(*arguments: object, timeout: float = 300, environment: dict[str, str] | None = None) -> Finished:
    done = subprocess.run(
        [str(BACKBEAM), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | (environment or {}),
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def run_in_process(*arguments: object, environment: dict[str, str] | None = None) -> Finished:
    """Run the real command in this process, without the seconds of CPU that importing TensorFlow and Beam takes.

    An exception that would end the command with a traceback is raised. What a command says while it watches
    descriptor 2 for a Beam engine's messages is not in the result.
    """
    from pipeline.cli.main import main  # which needs modules that few tests need
    from pipeline.storage.object_store import _open

    _open.cache_clear()  # which the environment may change

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="", write_through=True) for _ in range(2))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with (
        # Another process would lack what a test has patched, and import TensorFlow again.
        mock.patch("pipeline.train.training_process._start_process", return_value=None),
        mock.patch.dict(os.environ, environment or {}),
        mock.patch.object(sys, "argv", [str(BACKBEAM), *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            progress.configure()
    assert isinstance(code, int)
    return Finished(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))


def write_digits_with_a_bad_label(folder: Path) -> Path:
    """Write digits of which the first train label, 7, is no class."""
    labels = labels_bytes(np.array([7, *(np.arange(59) + 1) % 3]))
    return write_files(folder, Digits().files() | {"train-labels-idx1-ubyte": labels})


_COMMANDS = """
import json, sys
from dataclasses import asdict
from tests.helpers import run_in_process

print(json.dumps([asdict(run_in_process(*arguments)) for arguments in json.load(sys.stdin)]))
"""


def run_in_one_process(*commands: tuple[object, ...], prefix: tuple[str, ...] = ()) -> list[Finished]:
    """Run real commands one after the other in a process of their own, which imports TensorFlow and Beam once.

    prefix is a command that starts another one, such as `setpriv`.
    """
    arguments = json.dumps([[str(argument) for argument in command] for command in commands])
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [*prefix, sys.executable, "-c", _COMMANDS]
    done = subprocess.run(command, input=arguments, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return [Finished(**each) for each in json.loads(done.stdout)]


def build_everything(folder: Path) -> Path:
    source = write_digits_with_a_bad_label(folder / "digits")
    others = Digits(num_train=90).write(folder / "others")
    options = ("--num-classes", 3, "--max-rejected", 1, "--num-shards", 3, "--num-steps", 20, "--seeds", "1-2")
    place = ("--workspace", folder / "ws")
    for done in run_in_one_process(
        ("run", *place, "--dataset", source, *options),
        ("promote", *place, "article-manual-seed1", "--force", "--why", "for the tests"),
        ("retrain", *place, "--dataset", others, "--num-steps", 20, "--seed", 3),
    ):
        assert done.code == 0, done.err
    return folder


def without_time_made(files: dict[str, Any]) -> dict[str, Any]:
    """Return files of a workspace, by path, with the origins as objects without the time and the digest of its file."""
    times = ("made", "record_sha256")

    def drop(data: bytes) -> dict[str, Any]:
        return {name: value for name, value in json.loads(data).items() if name not in times}

    return {path: drop(data) if path.startswith("origins/") else data for path, data in files.items()}


_KILLED = """
import os, re, signal, sys
from pipeline.cli.main import main

event, pattern = sys.argv[1:3]

def kill(name, arguments):
    paths = [os.fsdecode(argument) for argument in arguments if isinstance(argument, (str, bytes))]
    if name == event and any(re.search(pattern, path) for path in paths):
        os.kill(os.getpid(), signal.SIGKILL)

sys.argv[1:] = sys.argv[3:]
sys.addaudithook(kill)
main()
"""


def killed_at(event: str, pattern: str, *arguments: object) -> int:
    """Run the real command, which kills itself at an audit event of a path that matches; return its exit code."""
    command = [sys.executable, "-c", _KILLED, event, pattern, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=300).returncode


def on_terminal(*arguments: object, num_columns: int = 120) -> str:
    """Run the real command with a terminal as its standard output; return what it prints."""
    controller, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(num_columns)}
    command = [str(BACKBEAM), *map(str, arguments)]
    with subprocess.Popen(command, stdout=terminal, stderr=subprocess.DEVNULL, env=environment) as running:
        os.close(terminal)
        printed = b"".join(_read_terminal(controller))
        os.close(controller)
    if running.returncode:
        raise subprocess.CalledProcessError(running.returncode, command)
    return printed.decode().replace("\r\n", "\n")


def _read_terminal(descriptor: int) -> Iterator[bytes]:
    with contextlib.suppress(OSError):  # raised by Linux when the other end is closed
        while piece := os.read(descriptor, 2**16):
            yield piece


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def artefacts(workspace: Path) -> dict[str, bytes]:
    """Return the contents of a workspace without the files that tell times, and origins without those in them."""
    kept = contents(workspace).items()
    found = {name: data for name, data in kept if not name.endswith(("run.json", "learning_curve.parquet"))}
    for name in fnmatch.filter(found, "origins/*.json"):
        origin = json.loads(found[name])
        origin.pop("made")
        origin.pop("record_sha256")
        found[name] = json.dumps(origin).encode()
    return found


def copy_before(function: Any, source: Path, copies: list[Path], folder: Path) -> Any:
    """Return a function that first copies source to a folder: what SIGKILL at that moment would leave."""

    def copying(*arguments: Any) -> Any:
        copies.append(shutil.copytree(source, folder / f"copy-{len(copies)}"))
        return function(*arguments)

    return copying


@contextlib.contextmanager
def run_server(command: list[str], address: str, log: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run a server until the block ends; raises RuntimeError if it does not listen on its address."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | environment)
    try:
        _wait_for_server(process, address, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_server(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    for _ in range(START_SECONDS * 10):
        with contextlib.suppress(OSError), connect(address):
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} does not listen: {log.read_text()}")


def connect(address: str) -> socket.socket:
    host, port = address.split(":")
    return socket.create_connection((host, int(port)), 10)


def free_addresses(count: int) -> tuple[str, ...]:
    """Return addresses on loopback that no process listens on."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return tuple(f"127.0.0.1:{server.getsockname()[1]}" for server in servers)
