import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.preprocess.duplicate_images import BUCKET_EXAMPLES, KEY_ROW, content_keys, pack_keys, temporary_buckets
from pipeline.preprocess.manifest import Manifest, SplitInfo
from pipeline.preprocess.validation_checks import _check_duplicates


def kept_of(images, split=0):
    return pack_keys(content_keys(images), np.arange(len(images)), np.zeros(len(images), np.int64), split)


@given(st.lists(st.integers(0, 40), max_size=60), st.sampled_from([1, 8 * BUCKET_EXAMPLES]))
def test_equal_images_come_to_one_bucket_and_nothing_is_lost(values, num_examples):
    kept = kept_of(np.array(values, np.uint8).reshape(-1, 1))
    with temporary_buckets(num_examples) as buckets:
        for piece in np.array_split(kept, 3):
            buckets.add(piece)
        found = list(buckets)
    seen = [{key.tobytes() for key in bucket["key"]} for bucket in found]
    assert sum(map(len, seen)) == len(set(values))
    together = np.concatenate([*found, np.zeros(0, KEY_ROW)])
    assert np.array_equal(np.sort(together, order="index"), kept)


@pytest.mark.parametrize(
    ("num_examples", "bits"), [(0, 1), (70_000, 1), (2**19 - 1, 1), (2**19, 2), (7_000_000, 5), (10**10, 10)]
)
def test_buckets_are_few_for_few_examples(num_examples, bits):
    with temporary_buckets(num_examples) as buckets:
        assert buckets._bits == bits


def test_what_is_kept_of_an_example():
    kept = pack_keys(np.array([[1, 2], [3, 4]], np.uint64), np.array([7, 8]), np.array([5, 6]), 1)
    assert kept["key"].tolist() == [[1, 2], [3, 4]]
    assert kept[["index", "label", "split"]].tolist() == [(7, 5, 1), (8, 6, 1)]
    assert kept.dtype.itemsize == 32  # so that a bucket takes 8 MiB


def test_a_bucket_holds_the_keys_of_its_range_and_stays_in_order():
    firsts = np.array([2**63, 2**62, 0, 2**62 - 1, 2**64 - 1, 2**63 - 1, 3 * 2**62, 1], np.uint64)
    kept = pack_keys(np.stack([firsts, firsts], axis=1), np.arange(8), np.arange(8), 0)
    with temporary_buckets(4 * BUCKET_EXAMPLES) as buckets:  # eight buckets, of which one stays empty
        buckets.add(kept[:5])
        buckets.add(kept[5:])
        assert [bucket["index"].tolist() for bucket in buckets] == [[2, 7], [3], [1], [5], [0], [6], [4]]


def test_examples_stay_in_order_in_their_bucket():
    keys = np.zeros((2000, 2), np.uint64)
    keys[::3, 0] = 2**63
    with temporary_buckets(1) as buckets:
        buckets.add(pack_keys(keys, np.arange(2000), np.zeros(2000), 0))
        low, high = (bucket["index"].tolist() for bucket in buckets)
    assert high == list(range(0, 2000, 3))
    assert low == sorted(low)


def test_what_is_found_does_not_depend_on_the_buckets():
    info = SplitInfo(num_examples=0, class_counts=(), pixel_mean=0, pixel_std=0, shards=())
    manifest = Manifest.model_construct(splits={"train": info, "test": info})
    random = np.random.default_rng(0)
    splits = [random.integers(0, 3, (400, 4)).astype(np.uint8) for _ in range(2)]
    found = []
    for num_examples in (1, 100 * BUCKET_EXAMPLES):
        with temporary_buckets(num_examples) as buckets:
            for number, images in enumerate(splits):
                buckets.add(kept_of(images, number))
            found.append(list(_check_duplicates(manifest, ["train", "test"], buckets)))
    assert found[0] == found[1]
    assert all(finding.num_examples > 10 for finding in found[0] if finding.check != "conflicting_labels")
