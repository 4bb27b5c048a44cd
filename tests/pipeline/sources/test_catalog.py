import gzip
from collections import Counter

import pytest

from pipeline.sources.catalog import EMBEDDED, KNOWN


def read_pairs(folder, prefix):
    images, labels = (
        gzip.decompress((folder / f"{prefix}-{ending}.gz").read_bytes())
        for ending in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    rows = [images[start : start + 784] for start in range(16, len(images), 784)]
    return set(zip(rows, labels[8:], strict=True))


def test_embedded_digits_are_different_digits_of_canonical_mnist(mnist_folder):
    train, test = (read_pairs(EMBEDDED / "mnist-5k", prefix) for prefix in ("train", "t10k"))
    assert Counter(label for _, label in train) == dict.fromkeys(range(10), 400)
    assert Counter(label for _, label in test) == dict.fromkeys(range(10), 100)
    assert not train & test
    assert train | test <= read_pairs(mnist_folder, "train")


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
