"""Downloads from a server on loopback."""

import gzip
import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from model.errors import BadInput, BadUsage
from pipeline.sources import download
from pipeline.sources.catalog import EMBEDDED, FILE_NAMES, KNOWN, KnownDataset
from pipeline.sources.scan import scan_source
from pipeline.sources.source_lookup import find_source
from tests.helpers import Digits, write_files

FILES = {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in Digits(num_classes=10).files().items()}
GOOD = "good"
CORRUPT = "corrupt"
PAGE = "page"
DROPPED = "dropped"
CUT = "cut"
UNSIZED = "unsized"
MISSING = "missing"
OVERLOADED = "overloaded"
SLOW = "slow"


class Mirror(BaseHTTPRequestHandler):
    """Serves /BEHAVIOUR,BEHAVIOUR/NAME: each request gets the next behaviour, and the last one repeatedly."""

    def do_GET(self):
        behaviours, name = self.path.strip("/").split("/")
        sequence = behaviours.split(",")
        behaviour = sequence[min(self.server.requests.count(self.path), len(sequence) - 1)]
        self.server.requests.append(self.path)
        data = FILES[name]
        status = 200
        declared = None
        if behaviour == CORRUPT:
            data = data[:-1] + bytes([data[-1] ^ 1])
        elif behaviour == PAGE:
            data = b"<html><body>Quota exceeded</body></html>"
        elif behaviour in (DROPPED, CUT):
            declared = len(data)
            data = data[: len(data) // 2]
        elif behaviour == MISSING:
            status = 404
            data = b"not here"
        elif behaviour == OVERLOADED:
            status = 503
            data = b"later"
        elif behaviour == SLOW:
            self.server.ended.wait(20)
            return
        self.send_response(status)
        if behaviour not in (CUT, UNSIZED):
            self.send_header("Content-Length", str(declared or len(data)))
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
    """Define a known data set "tiny" whose mirrors have the given behaviours; nothing listens at `dead`."""

    def use(*behaviours):
        root = f"http://127.0.0.1:{server.server_port}"
        urls = tuple("http://127.0.0.1:9/" if b == "dead" else f"{root}/{b}/" for b in behaviours)
        contents = tuple(hashlib.sha256(gzip.decompress(data)).hexdigest() for data in FILES.values())
        stored = tuple(hashlib.sha256(data).hexdigest() for data in FILES.values())
        monkeypatch.setitem(KNOWN, "tiny", KnownDataset(tuple("0123456789"), contents, stored, urls))

    monkeypatch.setattr(download, "WAITS_SECONDS", (0, 0))
    return use


def find(cache):
    return find_source("tiny", None, cache)


def test_files_are_downloaded_once_and_cached(mirrors, tmp_path, server):
    mirrors(GOOD)
    source = find(tmp_path)
    assert [Path(file).read_bytes() for file in source.files] == list(FILES.values())
    scan_source(source)
    assert find(tmp_path) == source  # from the cache
    assert len(server.requests) == 4


@pytest.mark.parametrize("first", [CORRUPT, PAGE, DROPPED, CUT, MISSING, "dead"])
def test_next_mirror_is_tried_after_a_failure(first, mirrors, tmp_path, server):
    mirrors(first, GOOD)
    scan_source(find(tmp_path))
    assert sum(path.startswith("/good") for path in server.requests) == 4


@pytest.mark.parametrize(
    ("only", "reason"),
    [
        (CORRUPT, "hash"),
        (PAGE, "hash"),
        (DROPPED, "hash|IncompleteRead"),
        (CUT, "perhaps incomplete, its length is unknown: .*hash"),
        (MISSING, "404"),
        ("dead", "refused"),
    ],
)
def test_error_names_every_failure_and_the_alternatives(only, reason, mirrors, tmp_path):
    mirrors(only)
    with pytest.raises(BadInput) as raised:
        find(tmp_path)
    message = str(raised.value)
    assert "tiny: train-images-idx3-ubyte.gz could not be downloaded" in message
    assert re.search(reason, message)
    assert str(tmp_path / "tiny") in message
    assert all(name in message for name in FILE_NAMES)
    assert "--data-dir" in message
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(("failure", "tries"), [(DROPPED, 1), (DROPPED, 2), (CUT, 2), (OVERLOADED, 2), (SLOW, 1)])
def test_transient_failure_is_retried(failure, tries, mirrors, monkeypatch, tmp_path, server, capsys):
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.2)
    mirrors(",".join([*[failure] * tries, GOOD]))
    source = find(tmp_path)
    assert [Path(file).read_bytes() for file in source.files] == list(FILES.values())
    assert len(server.requests) == 4 * (tries + 1)
    assert capsys.readouterr().err.count("trying again in") == 4 * tries


@pytest.mark.parametrize(
    ("failure", "tries"), [(DROPPED, 3), (CUT, 3), (OVERLOADED, 3), (SLOW, 3), (MISSING, 1), (CORRUPT, 1), (PAGE, 1)]
)
def test_number_of_tries_is_bounded_and_reported(failure, tries, mirrors, monkeypatch, tmp_path, server):
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.2)
    mirrors(failure)
    with pytest.raises(BadInput) as raised:
        find(tmp_path)
    assert len(server.requests) == tries
    assert ("(tried 3 times)" in str(raised.value)) == (tries > 1)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_file_of_unknown_length_is_downloaded(mirrors, tmp_path, server):
    mirrors(UNSIZED)
    scan_source(find(tmp_path))
    assert len(server.requests) == 4


@pytest.mark.parametrize("text", ["", "\n"])
def test_error_without_a_message_is_reported_by_its_type(text, mirrors, monkeypatch, tmp_path):
    def fail(*_):
        raise requests.TooManyRedirects(text)

    mirrors(GOOD)
    monkeypatch.setattr(download, "_fetch", fail)
    with pytest.raises(BadInput, match=r"-ubyte\.gz: TooManyRedirects"):
        find(tmp_path)


def test_download_reports_mirror_size_and_duration(mirrors, tmp_path, capsys):
    mirrors(MISSING, GOOD)
    find_source("tiny", None, tmp_path)
    messages = "".join(capsys.readouterr().err.split("\n"))
    assert len(re.findall(r"-ubyte\.gz: from http://127\.0\.0\.1:\d+/\S*, \d+\.\d MiB in \d+\.\d s", messages)) == 4


def test_damaged_file_in_the_cache_is_downloaded_again(mirrors, tmp_path, server):
    mirrors(GOOD)
    path = Path(find(tmp_path).files[0])
    path.write_bytes(path.read_bytes()[:-1])
    scan_source(find(tmp_path))
    assert len(server.requests) == 5


@pytest.mark.parametrize("compress", [False, True])
def test_existing_files_are_not_downloaded(compress, mirrors, tmp_path, server):
    mirrors(GOOD)
    plain = {name.removesuffix(".gz"): gzip.decompress(data) for name, data in FILES.items()}
    for place in (tmp_path / "given", tmp_path / "cache" / "tiny"):
        write_files(place, plain, compress)
    scan_source(find_source("tiny", str(tmp_path / "given"), tmp_path / "none"))
    scan_source(find(tmp_path / "cache"))
    assert server.requests == []


def test_other_content_under_a_known_name_is_rejected(mirrors, tmp_path):
    mirrors(GOOD)
    folder = Digits(seed=5, num_classes=10).write(tmp_path / "other")
    source = find_source("tiny", str(folder), tmp_path)
    with pytest.raises(BadInput, match=r"not the train-images-idx3-ubyte of tiny: expected content with SHA-256"):
        scan_source(source)


def test_content_without_a_published_digest_gives_a_warning(mirrors, monkeypatch, tmp_path, capsys):
    mirrors(GOOD)
    monkeypatch.setitem(KNOWN, "tiny", KNOWN["tiny"]._replace(content_digests=()))
    scan_source(find(tmp_path))
    assert "warning" not in capsys.readouterr().err
    folder = write_files(tmp_path / "again", {name[:-3]: gzip.decompress(data) for name, data in FILES.items()})
    scan_source(find_source("tiny", str(folder), tmp_path))
    assert "warning" in " ".join(capsys.readouterr().err.split())


def test_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(
        BadUsage, match=r"no data set 'mnits' \(did you mean 'mnist'\?\): neither a folder nor one of mnist-5k, mnist, "
    ):
        find_source("mnits", None, tmp_path)


def test_data_dir_with_a_folder_is_rejected(tmp_path):
    with pytest.raises(BadUsage, match="--data-dir goes with a known data set"):
        find_source(str(tmp_path), str(tmp_path), tmp_path)


def test_embedded_data_set_is_accepted(tmp_path):
    scans = scan_source(find_source("mnist-5k", None, tmp_path))
    assert {name: split.num_examples for name, split in scans.splits.items()} == {"train": 4000, "test": 1000}
    assert scans.image_size == (28, 28)


def test_embedded_digits_are_a_subset_of_canonical_mnist(mnist_folder):
    """Each image with its label is in canonical MNIST's train split, and no image occurs twice."""

    def pairs(folder, prefix):
        images, labels = (
            gzip.decompress((folder / f"{prefix}-{ending}.gz").read_bytes())
            for ending in ("images-idx3-ubyte", "labels-idx1-ubyte")
        )
        rows = [images[start : start + 784] for start in range(16, len(images), 784)]
        return set(zip(rows, labels[8:], strict=True))

    embedded = EMBEDDED / "mnist-5k"
    train = pairs(embedded, "train")
    test = pairs(embedded, "t10k")
    canonical = pairs(mnist_folder, "train")
    assert (len(train), len(test), len(train & test)) == (4000, 1000, 0)
    assert train | test <= canonical


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist"])
def test_entry_of_a_known_data_set_is_complete(name):
    known = KNOWN[name]
    digests = (*known.content_digests, *known.gzip_digests)
    assert len(known.gzip_digests) == 4
    assert len(known.content_digests) in (0, 4)
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 64 for digest in digests)
    assert len(known.class_names) == 10
    assert all(mirror.endswith("/") for mirror in known.mirrors)


def test_canonical_mnist_is_accepted_by_name(mnist_folder, tmp_path):
    scans = scan_source(find_source("mnist", str(mnist_folder), tmp_path))
    assert {name: split.num_examples for name, split in scans.splits.items()} == {"train": 60_000, "test": 10_000}
