import gzip
import hashlib

import numpy as np
import pytest

from model.errors import BadInput
from pipeline.sources.catalog import EMBEDDED, FILE_NAMES, KNOWN, IdxSource
from pipeline.sources.idx_files import find_idx_files
from pipeline.sources.source_lookup import find_source, scan_source
from tests.helpers import Digits, images_bytes, write_files


@pytest.mark.parametrize("name", ["mnist-5k", "mnist"])
def test_known_data_set_is_accepted_by_name(name, tmp_path, request):
    folder = None if name == "mnist-5k" else str(request.getfixturevalue("mnist_folder"))
    scans = scan_source(find_source(name, folder, tmp_path))
    sizes = {"mnist-5k": (4000, 1000), "mnist": (60_000, 10_000)}
    assert tuple(split.num_examples for split in scans.splits.values()) == sizes[name]
    assert scans.image_size == (28, 28)
    assert scans.class_names == tuple("0123456789")


def test_content_without_a_published_digest_gives_a_warning_unless_it_is_as_served(tmp_path, capsys):
    files = {name: gzip.compress(data, mtime=0) for name, data in Digits(num_classes=10).files().items()}
    served = tuple(hashlib.sha256(data).hexdigest() for data in files.values())
    known = KNOWN["kmnist"]._replace(gzip_digests=served)
    scan_source(IdxSource("kmnist", find_idx_files(write_files(tmp_path / "served", files)), known))
    assert "warning" not in capsys.readouterr().err
    again = write_files(tmp_path / "again", {name: gzip.decompress(data) for name, data in files.items()})
    scan_source(IdxSource("kmnist", find_idx_files(again), known))
    assert "warning" in " ".join(capsys.readouterr().err.split())


def test_files_of_another_known_data_set_are_rejected():
    source = IdxSource("kmnist", find_idx_files(EMBEDDED / "mnist-5k"), KNOWN["kmnist"])
    with pytest.raises(BadInput, match="these are files of mnist-5k, not of kmnist"):
        scan_source(source)


def test_splits_of_different_image_sizes_are_rejected(tmp_path):
    files = Digits().files() | {FILE_NAMES[2]: images_bytes(np.zeros((20, 4, 5)))}
    with pytest.raises(BadInput, match="images differ in size between splits: train 5 x 4, test 4 x 5"):
        scan_source(find_source(str(write_files(tmp_path / "digits", files)), None, tmp_path))
