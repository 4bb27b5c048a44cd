import gzip
from collections import Counter

from pipeline.sources.catalog import EMBEDDED


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
