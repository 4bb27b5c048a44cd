import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.buckets import BUCKET_EXAMPLES, KEPT, keep, temporary_buckets
from pipeline.checks import _find_repeated
from pipeline.duplicates import content_keys
from pipeline.manifest import Manifest, SplitInfo


def kept_of(images, split=0):
    return keep(content_keys(images), np.arange(len(images)), np.zeros(len(images), np.int64), split)


@given(st.lists(st.integers(0, 40), max_size=60), st.sampled_from([1, 8 * BUCKET_EXAMPLES]))
def test_equal_images_come_to_one_bucket_and_nothing_is_lost(values, num_examples):
    kept = kept_of(np.array(values, np.uint8).reshape(-1, 1))
    with temporary_buckets(num_examples) as buckets:
        for piece in np.array_split(kept, 3):
            buckets.add(piece)
        found = list(buckets)
    seen = [{key.tobytes() for key in bucket["key"]} for bucket in found]
    assert sum(map(len, seen)) == len(set(values))
    together = np.concatenate([*found, np.zeros(0, KEPT)])
    assert np.array_equal(np.sort(together, order="index"), kept)


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
            found.append(list(_find_repeated(manifest, ["train", "test"], buckets)))
    assert found[0] == found[1]
    assert all(finding.num_examples > 10 for finding in found[0] if finding.check != "conflicting_labels")
