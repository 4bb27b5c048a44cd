"""Programs with servers in a network of their own: Beam's ports listen on every interface, without authentication.

`isolated` runs this module in new network and process namespaces, where it starts the servers that are asked for, runs
commands one after another, and stops the servers. Whatever happens, all processes die with the namespace.
"""

import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import START_SECONDS, Finished, free_addresses, run_server

ROOT = Path(__file__).parents[2]
NAMESPACES = ("unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")


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
    own_network: bool = True,
) -> list[Finished]:
    """Run commands beside servers, without any network but loopback; return what became of each command.

    Without own_network they have this machine's network, to which the servers are open meanwhile.

    Commands and the environment have {name} in place of a server's port, and {folder}, as the servers' commands have,
    which have {port} of their own too. The folder is for the servers' messages and files.
    """
    if problem := _namespaces_fail():
        pytest.skip(f"needs a network namespace of its own: {problem}")
    told = [[str(part) for part in command] for command in commands]
    request = {"commands": told, "servers": servers, "environment": environment or {}, "own_network": own_network}
    done = subprocess.run(
        [
            *(part for part in NAMESPACES if own_network or part != "--net"),
            sys.executable,
            "-m",
            "tests.engines.isolation",
            str(folder),
        ],
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


def _run(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True)
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


def main() -> None:
    request, folder = json.load(sys.stdin), Path(sys.argv[1])
    if request["own_network"]:
        _bring_up_loopback()
    names = list(request["servers"])
    ports = {name: address.split(":")[1] for name, address in zip(names, free_addresses(len(names)), strict=True)}
    # a worker pool starts the first `python` in PATH
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    known: dict[str, Any] = {**ports, "folder": folder}
    os.environ.update({name: value.format(**known) for name, value in request["environment"].items()})
    with ExitStack() as stack:
        for name, command in request["servers"].items():
            filled = [part.format(port=ports[name], **known) for part in command]
            (folder / f"{name}.tmp").mkdir()
            own = {"TMPDIR": str(folder / f"{name}.tmp")}
            stack.enter_context(run_server(filled, f"localhost:{ports[name]}", folder / f"{name}.log", own))
        results = [_run([part.format(**known) for part in command]) for command in request["commands"]]
    print(json.dumps(results))  # noqa: T201 - the result


if __name__ == "__main__":
    main()
