import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.preprocess.duplicate_images import BUCKET_EXAMPLES, KEY_ROW, content_keys, pack_keys, temporary_buckets
from pipeline.preprocess.manifest import Manifest, SplitInfo
from pipeline.preprocess.validation_checks import _check_duplicates


def key_rows(images, split=0):
    return pack_keys(content_keys(images), np.arange(len(images)), np.zeros(len(images), np.int64), split)


@given(st.lists(st.integers(0, 40), max_size=60), st.sampled_from([1, 8 * BUCKET_EXAMPLES]))
def test_equal_images_are_in_one_bucket_and_no_row_is_lost(values, num_examples):
    rows = key_rows(np.array(values, np.uint8).reshape(-1, 1))
    with temporary_buckets(num_examples) as buckets:
        for piece in np.array_split(rows, 3):
            buckets.add(piece)
        contents = list(buckets)
    keys = [{key.tobytes() for key in bucket["key"]} for bucket in contents]
    assert sum(map(len, keys)) == len(set(values))
    together = np.concatenate([*contents, np.zeros(0, KEY_ROW)])
    assert np.array_equal(np.sort(together, order="index"), rows)


@pytest.mark.parametrize(
    ("num_examples", "bits"), [(0, 1), (70_000, 1), (2**19 - 1, 1), (2**19, 2), (7_000_000, 5), (10**10, 10)]
)
def test_number_of_buckets_grows_with_the_examples(num_examples, bits):
    with temporary_buckets(num_examples) as buckets:
        assert buckets._bits == bits


def test_key_row_has_32_bytes_and_all_fields():
    rows = pack_keys(np.array([[1, 2], [3, 4]], np.uint64), np.array([7, 8]), np.array([5, 6]), 1)
    assert rows["key"].tolist() == [[1, 2], [3, 4]]
    assert rows[["index", "label", "split"]].tolist() == [(7, 5, 1), (8, 6, 1)]
    assert rows.dtype.itemsize == 32  # so that a bucket takes 8 MiB


def test_bucket_holds_the_keys_of_its_range_in_order():
    firsts = np.array([2**63, 2**62, 0, 2**62 - 1, 2**64 - 1, 2**63 - 1, 3 * 2**62, 1], np.uint64)
    rows = pack_keys(np.stack([firsts, firsts], axis=1), np.arange(8), np.arange(8), 0)
    with temporary_buckets(4 * BUCKET_EXAMPLES) as buckets:  # eight buckets, of which one stays empty
        buckets.add(rows[:5])
        buckets.add(rows[5:])
        assert [bucket["index"].tolist() for bucket in buckets] == [[2, 7], [3], [1], [5], [0], [6], [4]]


def test_rows_of_a_bucket_stay_in_order():
    keys = np.zeros((2000, 2), np.uint64)
    keys[::3, 0] = 2**63
    with temporary_buckets(1) as buckets:
        buckets.add(pack_keys(keys, np.arange(2000), np.zeros(2000), 0))
        low, high = (bucket["index"].tolist() for bucket in buckets)
    assert high == list(range(0, 2000, 3))
    assert low == sorted(low)


def test_findings_do_not_depend_on_the_number_of_buckets():
    info = SplitInfo(num_examples=0, class_counts=(), pixel_mean=0, pixel_std=0, shards=())
    manifest = Manifest.model_construct(splits={"train": info, "test": info})
    random = np.random.default_rng(0)
    splits = [random.integers(0, 3, (400, 4)).astype(np.uint8) for _ in range(2)]
    found = []
    for num_examples in (1, 100 * BUCKET_EXAMPLES):
        with temporary_buckets(num_examples) as buckets:
            for number, images in enumerate(splits):
                buckets.add(key_rows(images, number))
            found.append(list(_check_duplicates(manifest, ["train", "test"], buckets)))
    assert found[0] == found[1]
    assert all(finding.num_examples > 10 for finding in found[0] if finding.check != "conflicting_labels")
