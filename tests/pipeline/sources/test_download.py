"""Downloads from a server on loopback."""

import gzip
import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model.errors import BadInput
from pipeline.sources import download
from pipeline.sources.catalog import FILE_NAMES, KNOWN, KnownDataset
from pipeline.sources.source_lookup import find_source
from tests.helpers import Digits, write_files

FILES = {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in Digits(num_classes=10).files().items()}
# the status, the bytes and the stated length of each answer to a request for a file
ANSWERS = {
    "good": lambda data: (200, data, len(data)),
    "unsized": lambda data: (200, data, None),
    "corrupt": lambda data: (200, data[:-1] + bytes([data[-1] ^ 1]), len(data)),
    "page": lambda _: (200, b"<html>Quota exceeded</html>", 27),
    "dropped": lambda data: (200, data[: len(data) // 2], len(data)),
    "cut": lambda data: (200, data[: len(data) // 2], None),
    "missing": lambda _: (404, b"not here", 8),
    "overloaded": lambda _: (503, b"later", 5),
}


class Mirror(BaseHTTPRequestHandler):
    """Serves /ANSWER,ANSWER/NAME: each request gets the next answer, and the last one repeatedly."""

    def do_GET(self):
        answers, name = self.path.strip("/").split("/")
        sequence = answers.split(",")
        answer = sequence[min(self.server.requests.count(self.path), len(sequence) - 1)]
        self.server.requests.append(self.path)
        if answer == "slow":
            self.server.ended.wait(20)
            return
        status, data, length = ANSWERS[answer](FILES[name])
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as running:
        running.requests = []
        running.ended = threading.Event()
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.ended.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def mirrors(server, monkeypatch):
    """Define a known data set "tiny" whose mirrors give the given answers; nothing listens at `dead`."""

    def use(*answers):
        root = f"http://127.0.0.1:{server.server_port}"
        urls = tuple("http://127.0.0.1:9/" if b == "dead" else f"{root}/{b}/" for b in answers)
        contents = tuple(hashlib.sha256(gzip.decompress(data)).hexdigest() for data in FILES.values())
        stored = tuple(hashlib.sha256(data).hexdigest() for data in FILES.values())
        monkeypatch.setitem(KNOWN, "tiny", KnownDataset(tuple("0123456789"), contents, stored, urls))

    monkeypatch.setattr(download, "WAITS_SECONDS", (0, 0))
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.5)
    return use


def find(cache):
    return find_source("tiny", None, cache)


def assert_downloaded(source):
    assert [Path(file).read_bytes() for file in source.files] == list(FILES.values())


@pytest.mark.parametrize("answer", ["good", "unsized"])
def test_files_are_downloaded_once_and_cached(answer, mirrors, tmp_path, server, capsys):
    mirrors(answer)
    source = find(tmp_path)
    assert_downloaded(source)
    messages = "".join(capsys.readouterr().err.split("\n"))
    assert len(re.findall(r"-ubyte\.gz: from http://127\.0\.0\.1:\d+/\S*, \d+\.\d MiB in \d+\.\d s", messages)) == 4
    assert find(tmp_path) == source  # from the cache
    assert len(server.requests) == 4


def test_temporary_file_of_a_killed_download_is_removed(mirrors, tmp_path):
    mirrors("good")
    stale = tmp_path / "tiny" / f".{next(iter(FILES))}.{2**30}.abc.tmp"  # no process has that id
    stale.parent.mkdir()
    stale.write_bytes(b"half")
    find(tmp_path)
    assert sorted(path.name for path in stale.parent.iterdir()) == sorted(FILES)


@pytest.mark.parametrize(("failure", "tries"), [("dropped", 1), ("cut", 2), ("overloaded", 2), ("slow", 1)])
def test_transient_failure_is_retried(failure, tries, mirrors, tmp_path, server, capsys):
    mirrors(",".join([*[failure] * tries, "good"]))
    assert_downloaded(find(tmp_path))
    assert len(server.requests) == 4 * (tries + 1)
    assert capsys.readouterr().err.count("trying again in") == 4 * tries


@pytest.mark.parametrize(
    ("failure", "tries", "reason"),
    [
        ("dropped", 3, "IncompleteRead"),
        ("cut", 3, "perhaps incomplete, its length is unknown: .*hash is .*, expected"),
        ("overloaded", 3, "503"),
        pytest.param("slow", 3, "timed out", marks=pytest.mark.thorough),  # it waits for seconds
        ("missing", 1, "404"),
        ("corrupt", 1, "hash is .*, expected"),
        ("page", 1, "hash is .*, expected"),
        ("dead", 0, "refused"),
    ],
)
def test_error_names_the_failure_and_next_mirror_is_tried(failure, tries, reason, mirrors, tmp_path, server):
    mirrors(failure)
    with pytest.raises(BadInput) as raised:
        find(tmp_path)
    message = str(raised.value)
    assert "tiny: train-images-idx3-ubyte.gz could not be downloaded" in message
    assert re.search(reason, message)
    assert str(tmp_path / "tiny") in message
    assert all(name in message for name in FILE_NAMES)
    assert "--data-dir" in message
    assert ("(tried 3 times)" in message) == (tries != 1)
    assert len(server.requests) == tries
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    mirrors(failure, "good")
    assert_downloaded(find(tmp_path))
    assert sum(path.startswith("/good") for path in server.requests) == 4


def test_damaged_file_in_the_cache_is_downloaded_again(mirrors, tmp_path, server):
    mirrors("good")
    path = Path(find(tmp_path).files[0])
    path.write_bytes(path.read_bytes()[:-1])
    assert_downloaded(find(tmp_path))
    assert len(server.requests) == 5


@pytest.mark.parametrize("compress", [False, True])
def test_existing_files_are_not_downloaded(compress, mirrors, tmp_path, server):
    mirrors("good")
    plain = {name.removesuffix(".gz"): gzip.decompress(data) for name, data in FILES.items()}
    given = write_files(tmp_path / "given", plain, compress)
    cached = write_files(tmp_path / "cache" / "tiny", plain, compress)
    found = (find_source("tiny", str(given), tmp_path / "none"), find(tmp_path / "cache"))
    assert [{Path(file).parent for file in source.files} for source in found] == [{given}, {cached}]
    assert server.requests == []
