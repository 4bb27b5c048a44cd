import numpy as np
import pyarrow.parquet as pq

from tests.helpers import Digits
from tests.pictures import png, read_reasons, rows_table, scan_folder, split_of, write_rows

UNUSABLE = {
    3: (None, 0, "there are no bytes of a picture"),
    4: (b"no picture", 1, "not a sound picture: damaged at its beginning"),
    5: (png(np.zeros((5, 4), np.uint8))[:60], 2, "not a sound PNG picture"),
    6: (png(np.zeros((9, 9), np.uint8)), 0, "9 x 9 pixels, expected 5 x 4"),
    7: (png(np.zeros((5000, 5000), np.uint8)), 1, "5000 x 5000 pixels, expected at most 16777216 in all"),
    8: (png(np.zeros((5, 4), np.uint8)), None, "there is no label"),
    9: (png(np.zeros((5, 4), np.uint8)), -1, "label -1 is negative"),
    10: (png(np.zeros((5, 4), np.uint8)), 3, "label 3 is not below 3"),
}


def test_unusable_examples_are_rejected_with_their_reasons(tmp_path):
    pictures, labels = split_of(Digits(), "train")
    for index, (picture, label, _) in UNUSABLE.items():
        pictures[index] = picture
        labels[index] = label
    pq.write_table(rows_table(pictures, labels), write_rows(tmp_path) / "train.parquet", row_group_size=4)
    reasons = read_reasons(scan_folder(tmp_path, num_classes=3), "train")
    assert list(reasons) == [f"train.parquet[{index}]" for index in UNUSABLE]
    for found, (index, (_, _, expected)) in zip(reasons.values(), UNUSABLE.items(), strict=True):
        assert found.startswith(f"row {index}: {expected}")


def test_size_is_that_of_the_first_picture_that_can_be_decoded(tmp_path):
    pictures, labels = split_of(Digits(), "train")
    table = rows_table([b"damaged", png(np.zeros((6, 7), np.uint8)), *pictures], [0, 0, *labels])
    pq.write_table(table, write_rows(tmp_path) / "train.parquet")
    assert scan_folder(tmp_path).image_size == (6, 7)
