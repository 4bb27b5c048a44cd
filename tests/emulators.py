"""Emulators of object stores on loopback, what lies in them, and a connection to them that can be cut or frozen."""

import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from azure.storage.blob import BlobServiceClient

from tests.helpers import START_SECONDS, connect, free_addresses, run_server

_EMULATOR = [sys.executable, str(Path(__file__).with_name("conditional_emulator.py"))]
BUCKET = "backbeam-test"
SECRET = "a-secret-that-nobody-may-see"  # noqa: S105 - of an emulator
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "an-identity", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
# The account that Azurite has from its makers.
AZURE = {
    "AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1",
    "AZURE_STORAGE_ACCOUNT_KEY": (
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    ),
}


@dataclass
class Emulated:
    """A store that is emulated: its URIs, where the emulator listens, what a command needs to find it.

    Its subclasses have `names` below a folder, `get`, `put` and `delete` for an object.
    """

    scheme: str
    address: str
    environment: dict[str, str]
    client: Any

    def uri(self, name: str) -> str:
        return f"{self.scheme}://{BUCKET}/{name}"

    def reached_by(self, address: str) -> dict[str, str]:
        """The environment of a command that goes by another address."""
        return {name: value.replace(self.address, address) for name, value in self.environment.items()}

    def contents(self, folder: str) -> dict[str, bytes]:
        """Every object below a folder, by what stands after it."""
        return {name.removeprefix(f"{folder}/"): self.get(name) for name in sorted(self.names(folder))}

    def visible(self, folder: str) -> dict[str, bytes]:
        return {name: data for name, data in self.contents(folder).items() if not name.startswith(".")}


class Amazon(Emulated):
    """S3, or Google's store, which speaks its language."""

    def names(self, folder: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{folder}/")
        return [found["Key"] for page in pages for found in page.get("Contents", ())]

    def get(self, name: str) -> bytes:
        return self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()

    def put(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=name, Body=data)

    def delete(self, name: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=name)


class Azure(Emulated):
    def names(self, folder: str) -> list[str]:
        return list(self.client.list_blob_names(name_starts_with=f"{folder}/"))

    def get(self, name: str) -> bytes:
        return self.client.download_blob(name).readall()

    def put(self, name: str, data: bytes) -> None:
        self.client.upload_blob(name, data, overwrite=True)

    def delete(self, name: str) -> None:
        self.client.delete_blob(name)


@contextmanager
def amazon(folder: Path, **options: str) -> Iterator[Amazon]:
    """An emulated S3 with an empty bucket; options are moto's, of its environment."""
    [address] = free_addresses(1)
    host, port = address.split(":")
    with (
        run_server([*_EMULATOR, "amazon", "-H", host, "-p", port], address, folder / "emulator.log", options),
        closing(_client(address)) as client,
    ):
        client.create_bucket(Bucket=BUCKET)
        yield Amazon("s3", address, CREDENTIALS | {"AWS_ENDPOINT_URL": f"http://{address}"}, client)


@contextmanager
def google(folder: Path) -> Iterator[Amazon]:
    """An emulated Google Cloud Storage with an empty bucket."""
    [address] = free_addresses(1)
    with (
        run_server([*_EMULATOR, "google", *address.split(":"), BUCKET], address, folder / "emulator.log", {}),
        closing(_client(address)) as client,
    ):
        yield Amazon("gs", address, {"STORAGE_EMULATOR_HOST": f"http://{address}"}, client)


@contextmanager
def azure(folder: Path) -> Iterator[Azure]:
    """An emulated account of Azure's blob storage with an empty container; skips the test where Azurite is not."""
    [address] = free_addresses(1)
    host, port = address.split(":")
    options = ("--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry")
    command = [find_azurite(), f"--blobHost={host}", f"--blobPort={port}", *options]
    endpoint = f"http://{address}/{AZURE['AZURE_STORAGE_ACCOUNT_NAME']}"
    with (
        run_server(command, address, folder / "emulator.log", {}),
        BlobServiceClient(endpoint, AZURE["AZURE_STORAGE_ACCOUNT_KEY"]) as service,
    ):
        environment = AZURE | {"AZURE_STORAGE_ENDPOINT": endpoint}
        yield Azure("az", address, environment, service.create_container(BUCKET))


def find_azurite() -> str:
    """Return the program that emulates Azure's blob storage; skips the test where it is not installed."""
    beside = Path(sys.prefix) / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    found = str(beside) if beside.exists() else shutil.which("azurite-blob")
    if not found:
        pytest.skip("needs Azurite, which `make azurite` installs where there is npm")
    return found


def _client(address: str) -> Any:
    names = {"aws_access_key_id": "an-identity", "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
    return boto3.client("s3", endpoint_url=f"http://{address}", **names)


@dataclass
class Wire:
    """A way to a store on which requests are broken off in their middle."""

    address: str  # HOST:PORT of this end
    target: str  # HOST:PORT of the store
    word: bytes  # what a request is known by
    spared: int  # how many of those requests go through before one is broken off
    # "dead": nothing goes through any more; "once": all others do; "silent": the others do, and the one that is
    # broken off is never answered; "frozen": no request is answered any more; "late": it goes through whole when
    # `resumed` is set; "unheard": it goes through whole, and only its answer is lost; "halved": it goes through, and
    # half a megabyte of its answer comes back
    then: str
    broken: threading.Event = field(default_factory=threading.Event)  # set when that has happened
    resumed: threading.Event = field(default_factory=threading.Event)
    _open: list[socket.socket] = field(default_factory=list)
    _unheard: socket.socket | None = None
    _silent: socket.socket | None = None  # the other connections end when the store ends them

    def serve(self, server: socket.socket) -> None:
        with suppress(OSError):  # closed at the end of the test
            while True:
                client, _ = server.accept()
                if self.then == "dead" and self.broken.is_set():
                    client.close()
                    continue
                store = connect(self.target)
                store.settimeout(None)  # a connection may be idle for longer than the store takes to accept one
                self._open += [client, store]
                for way in (self._ask, self._answer):
                    threading.Thread(target=way, args=(client, store), daemon=True).start()

    def close(self) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _ask(self, client: socket.socket, store: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(2**16):
                if self._breaks(data):
                    if not self._break(client, store, data):
                        return
                elif not (self.then == "frozen" and self.broken.is_set()):
                    store.sendall(data)
        with suppress(OSError):
            store.shutdown(socket.SHUT_WR)

    def _break(self, client: socket.socket, store: socket.socket, data: bytes) -> bool:
        """Break a request off as `then` says; return whether its connection stays."""
        if self.then == "late":
            self.broken.set()
            self.resumed.wait()
            store.sendall(data)
            return True
        if self.then in ("unheard", "halved"):
            self._unheard = store
            store.sendall(data)
            return True
        store.sendall(data[: len(data) // 2])
        self.broken.set()
        if self.then == "frozen":
            return True
        if self.then == "silent":
            self._silent = store
        for each in (store,) if self.then == "silent" else (store, client):
            each.shutdown(socket.SHUT_RDWR)
        return False

    def _answer(self, client: socket.socket, store: socket.socket) -> None:
        with suppress(OSError):
            heard = 0
            while data := store.recv(2**16):
                heard += len(data)
                if store is self._unheard and (self.then == "unheard" or heard > 2**19):
                    self._unheard = None
                    self.broken.set()
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)
            if store is not self._silent:
                client.shutdown(socket.SHUT_WR)

    def _breaks(self, data: bytes) -> bool:
        if self.broken.is_set() or self.word not in data:
            return False
        self.spared -= 1
        return self.spared < 0


@contextmanager
def wire(store: Emulated, word: bytes, spared: int, then: str) -> Iterator[Wire]:
    """A way to a store that breaks; see Wire."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        made = Wire(f"127.0.0.1:{server.getsockname()[1]}", store.address, word, spared, then)
        thread = threading.Thread(target=made.serve, args=(server,), daemon=True)
        thread.start()
        stack.callback(made.close)
        yield made
        server.shutdown(socket.SHUT_RDWR)
        thread.join(START_SECONDS)
