"""The search for duplicates, compared with one that compares every pair of images, and the buckets of keys."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.preprocess.duplicate_images import (
    BUCKET_EXAMPLES,
    KEY_ROW,
    DigestBuckets,
    choose_bits,
    content_keys,
    find_repeated,
    find_twins,
    pack_keys,
)
from pipeline.storage.files import scratch_folder

IMAGES = arrays(np.uint8, st.tuples(st.integers(0, 30), st.integers(1, 3)), elements=st.integers(0, 2))


@given(IMAGES)
def test_repeated_images_are_the_equal_ones(images):
    rows, groups = find_repeated(content_keys(images))
    naive = {}
    for position, image in enumerate(images):
        naive.setdefault(image.tobytes(), []).append(position)
    found = sorted(rows[groups == group].tolist() for group in np.unique(groups))
    assert found == sorted(members for members in naive.values() if len(members) > 1)


@given(IMAGES, st.integers(0, 30), st.booleans(), st.randoms(use_true_random=False))
def test_twin_is_the_equal_candidate_with_the_smallest_index(images, num_candidates, all_are_members, random):
    indices = np.array(random.sample(range(1000), len(images)), np.int64)
    rows, groups = find_repeated(content_keys(images))
    candidates = np.flatnonzero(rows < num_candidates)
    members = np.arange(len(rows)) if all_are_members else np.flatnonzero(rows >= num_candidates)
    pairs = find_twins(groups, indices[rows], members, candidates)
    expected = set()
    for member in range(0 if all_are_members else num_candidates, len(images)):
        equal = [each for each in range(len(images))[:num_candidates] if (images[each] == images[member]).all()]
        twin = min(equal, key=lambda each: indices[each], default=member)
        if twin != member:
            expected.add((member, twin))
    assert {(int(rows[a]), int(rows[b])) for a, b in zip(*pairs, strict=True)} == expected


def test_keys_are_equal_only_if_both_halves_are():
    for halves in ([[1, 5], [2, 5], [1, 5], [1, 6]], [[5, 1], [5, 2], [5, 1], [6, 1]], [[0, 0], [0, 1], [0, 0]]):
        rows, groups = find_repeated(np.array(halves, np.uint64))
        assert rows.tolist() == [0, 2]
        assert groups[0] == groups[1]


def test_content_key_is_blake2b():
    """The key is BLAKE2b-128 of the bytes, as `b2sum -l 128` prints it."""
    images = np.array([[1, 2, 3], [1, 2, 4]], np.uint8)
    for each in (images, np.asfortranarray(images)):
        assert content_keys(each)[0].astype("<u8").tobytes().hex() == "3918c58061547dffc0618e6bf1d46ea2"


@given(st.lists(st.integers(0, 40), max_size=60), st.sampled_from([1, 8 * BUCKET_EXAMPLES]))
def test_equal_images_are_in_one_bucket_and_no_row_is_lost(values, num_examples):
    images = np.array(values, np.uint8).reshape(-1, 1)
    rows = pack_keys(content_keys(images), np.arange(len(images)), np.zeros(len(images), np.int64), 0)
    with scratch_folder("buckets") as folder:
        buckets = DigestBuckets(folder, num_examples)
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
    assert choose_bits(num_examples) == bits
    assert choose_bits(num_examples, 4) == min(bits, 4)


def test_bucket_holds_the_keys_of_its_range_in_order(tmp_path):
    firsts = np.array([2**63, 2**62, 0, 2**62 - 1, 2**64 - 1, 2**63 - 1, 3 * 2**62, 1], np.uint64)
    rows = pack_keys(np.stack([firsts, firsts], axis=1), np.arange(8), np.arange(8), 0)
    buckets = DigestBuckets(tmp_path, 4 * BUCKET_EXAMPLES)  # eight buckets, of which one stays empty
    buckets.add(rows[:5])
    buckets.add(rows[5:])
    assert [bucket["index"].tolist() for bucket in buckets] == [[2, 7], [3], [1], [5], [0], [6], [4]]
