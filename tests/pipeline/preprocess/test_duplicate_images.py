"""The search for duplicates, compared with one that compares every pair of images."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.preprocess.duplicate_images import content_keys, find_later_duplicates, find_repeated, find_shared

IMAGES = arrays(np.uint8, st.tuples(st.integers(0, 30), st.integers(1, 3)), elements=st.integers(0, 2))


def naive_groups(images):
    """Return the positions of each image that occurs more than once."""
    groups = {}
    for position, image in enumerate(images):
        groups.setdefault(image.tobytes(), []).append(position)
    return sorted(members for members in groups.values() if len(members) > 1)


def found_groups(images):
    rows, groups = find_repeated(content_keys(images))
    return sorted(rows[groups == group].tolist() for group in np.unique(groups))


@given(IMAGES)
def test_repeated_images_are_the_equal_ones(images):
    assert found_groups(images) == naive_groups(images)


@given(IMAGES, st.randoms(use_true_random=False))
def test_twin_is_the_equal_image_with_the_smallest_index(images, random):
    indices = np.array(random.sample(range(1000), len(images)), np.int64)
    rows, groups = find_repeated(content_keys(images))
    pairs = find_later_duplicates(groups, indices[rows])
    found = {(int(indices[rows[a]]), int(indices[rows[b]])) for a, b in zip(*pairs, strict=True)}
    expected = set()
    for members in naive_groups(images):
        first = min(indices[members])
        expected |= {(int(index), int(first)) for index in indices[members] if index != first}
    assert found == expected


@given(IMAGES, st.integers(0, 30))
def test_shared_images_are_found_with_their_twins(images, num_train):
    rows, groups = find_repeated(content_keys(images))
    indices = np.arange(len(images))
    pairs = find_shared(groups, rows >= num_train, indices[rows])
    found = {(int(rows[a]), int(rows[b])) for a, b in zip(*pairs, strict=True)}
    train = [image.tobytes() for image in images[:num_train]]
    expected = {
        (position, train.index(images[position].tobytes()))
        for position in range(num_train, len(images))
        if images[position].tobytes() in train
    }
    assert found == expected


def test_keys_of_images_that_differ_by_one_pixel_differ():
    images = np.zeros((785, 784), np.uint8)
    images[np.arange(784), np.arange(784)] = 128
    keys = content_keys(images)
    assert keys.dtype == np.uint64
    assert len(np.unique(keys, axis=0)) == 785
    assert (content_keys(np.asfortranarray(images)) == keys).all()


def test_keys_are_equal_only_if_both_halves_are():
    for halves in ([[1, 5], [2, 5], [1, 5], [1, 6]], [[5, 1], [5, 2], [5, 1], [6, 1]]):
        found = find_repeated(np.array(halves, np.uint64))
        assert found.rows.tolist() == [0, 2]
        assert found.groups[0] == found.groups[1]


def test_content_key_is_blake2b():
    """The key is BLAKE2b-128 of the bytes, as `b2sum -l 128` prints it."""
    [key] = content_keys(np.array([[1, 2, 3]], np.uint8))
    assert key.astype("<u8").tobytes().hex() == "3918c58061547dffc0618e6bf1d46ea2"
