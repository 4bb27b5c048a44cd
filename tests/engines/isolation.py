"""Programs with servers in a network of their own: Beam's ports listen on every interface, without authentication.

`isolated` runs this module in new network and process namespaces, where it starts the servers that are asked for, runs
commands one after another, and stops the servers. Whatever happens, all processes die with the namespace.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Finished

ROOT = Path(__file__).parents[2]
NAMESPACES = ("unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
START_SECONDS = 30


@cache
def _namespaces_fail() -> str:
    """Return why there can be no namespace, or nothing."""
    if not shutil.which("unshare"):
        return "there is no program `unshare`"
    done = subprocess.run([*NAMESPACES, "true"], capture_output=True, text=True, timeout=START_SECONDS)
    return done.stderr.strip()


def isolated(
    commands: Sequence[Sequence[object]],
    servers: dict[str, list[str]],
    folder: Path,
    environment: dict[str, str] | None = None,
    timeout: float = 300,
) -> list[Finished]:
    """Run commands beside servers, without any network but loopback.

    Args:
        commands: with {name} in place of a server's port, and {folder}.
        servers: by name, each a command with {port}, {folder} and the other ports.
        folder: for the servers' messages and files.
        environment: additions for servers and commands, with the same in place.
        timeout: of everything, in seconds.

    Returns:
        what became of each command.
    """
    if problem := _namespaces_fail():
        pytest.skip(f"needs a network namespace of its own: {problem}")
    told = [[str(part) for part in command] for command in commands]
    request = {"commands": told, "servers": servers, "environment": environment or {}}
    done = subprocess.run(
        [*NAMESPACES, sys.executable, "-m", "tests.engines.isolation", str(folder)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return [Finished(**result) for result in json.loads(done.stdout)]


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        set_flags, up = 0x8914, 0x1  # SIOCSIFFLAGS, IFF_UP
        fcntl.ioctl(control, set_flags, struct.pack("16sh", b"lo", up))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def _server(command: list[str], port: int, log: Path) -> Iterator[None]:
    """Run a server until the block ends; its temporary files go beside its log."""
    own = log.with_suffix(".tmp")
    own.mkdir(exist_ok=True)
    # a worker pool starts the first `python` in PATH
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "TMPDIR": str(own)}
    with log.open("wb") as heard:
        process = subprocess.Popen(command, stdout=heard, stderr=heard, env=environment)
    try:
        _wait_for(process, port, log)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(START_SECONDS * 10):
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("localhost", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} does not listen: {log.read_text()}")


def _run(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True)
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


def main() -> None:
    _bring_up_loopback()
    request, folder = json.load(sys.stdin), Path(sys.argv[1])
    ports = {name: _free_port() for name in request["servers"]}
    known: dict[str, Any] = {**ports, "folder": folder}
    os.environ.update({name: value.format(**known) for name, value in request["environment"].items()})
    with ExitStack() as stack:
        for name, command in request["servers"].items():
            filled = [part.format(port=ports[name], **known) for part in command]
            stack.enter_context(_server(filled, ports[name], folder / f"{name}.log"))
        results = [_run([part.format(**known) for part in command]) for command in request["commands"]]
    print(json.dumps(results))  # noqa: T201 - the result


if __name__ == "__main__":
    main()
