import numpy as np
import pytest

from model.errors import BadUsage, CorruptArtefact
from model.examples import Examples
from pipeline.preprocess import shards
from pipeline.preprocess.manifest import Manifest, PreprocessConfig
from pipeline.preprocess.shards import (
    MAX_MEAN_BYTES,
    ShardMemory,
    check_size,
    choose_num_shards,
    default_num_shards,
    encode_shard,
    number_order,
    pixel_sums,
    read_shard,
    shard_of,
    split_num_shards,
    summarize_shards,
)
from pipeline.sources.catalog import MAX_SHARDS
from pipeline.storage.files import remove_file, write_atomically
from pipeline.storage.places import RemotePath


@pytest.mark.parametrize(
    ("num_examples", "num_pixels", "expected"),
    [
        (60_000, 784, 8),  # determines the ids of every user's data sets
        (4_000, 784, 1),
        (8_192, 784, 1),
        (8_193, 784, 2),
        (7_000_000, 784, 855),
        (1_000, 2**20, 164),  # 6 images of a megapixel each
        (100, 2**24, 100),  # an image is larger than a shard should be
        (65_537, 1, 2),  # tiny images
        (0, 784, 1),
        (10**10, 784, MAX_SHARDS),
    ],
)
def test_default_number_of_shards_depends_on_bytes(num_examples, num_pixels, expected):
    assert default_num_shards(num_examples, num_pixels) == expected


@pytest.mark.parametrize(
    ("requested", "num_examples", "num_pixels", "expected"),
    [
        (3, 60_000, 784, 3),
        (None, 60_000, 784, 8),
        (None, 100, 784, 1),
        (8, 8, 784, 8),
        (1, MAX_MEAN_BYTES, 1, 1),
        (9, 8, 784, "--num-shards 9 is more than the 8 train examples of few"),
        (1, 7_000_000, 784, r"--num-shards 1 is too few for few: .* 128 MiB .* at least 41$"),
        (1, MAX_MEAN_BYTES + 1, 1, "at least 2$"),
    ],
)
def test_requested_number_of_shards_is_used_if_it_fits(requested, num_examples, num_pixels, expected):
    if isinstance(expected, int):
        assert choose_num_shards(requested, num_examples, num_pixels, "few") == expected
        return
    with pytest.raises(BadUsage, match=expected):
        choose_num_shards(requested, num_examples, num_pixels, "few")


def test_too_large_split_is_rejected():
    check_size(MAX_SHARDS, MAX_MEAN_BYTES, "full")
    with pytest.raises(BadUsage, match=r"the test split of vast is too large: .* 128 MiB .* at most 99999"):
        check_size(MAX_SHARDS * MAX_MEAN_BYTES + 1, 1, "the test split of vast")


@pytest.mark.parametrize(
    ("num_train_shards", "num_train", "num_examples", "expected"),
    [
        (8, 60_000, 60_000, 8),
        (8, 60_000, 7_500, 1),
        (8, 60_000, 7_501, 2),
        (8, 60_000, 0, 1),
        (1, 1, MAX_SHARDS, MAX_SHARDS),
        (MAX_SHARDS, 100_000, 200_000, MAX_SHARDS),
    ],
)
def test_shards_of_every_split_have_about_the_same_size(num_train_shards, num_train, num_examples, expected):
    assert split_num_shards(num_train_shards, num_train, num_examples) == expected


def test_file_names_are_sorted_by_number():
    names = ["part-2-train-00001-of-00002.parquet", "part-10-train-00000-of-00002.parquet"]
    assert sorted(names) != names
    assert sorted(names, key=number_order) == names


@pytest.mark.parametrize("num_values", [0, 1, 2**16 - 1, 2**16, 2**16 + 1, 200_000])
def test_pixel_sums_are_exact(num_values):
    """Also if the values are summed in several pieces, or are all 255."""
    for values in (np.random.default_rng(0).integers(0, 256, num_values).astype(np.uint8), np.full(num_values, 255)):
        wide = values.astype(object)  # Python integers do not overflow
        assert pixel_sums(values.astype(np.uint8).reshape(-1, 1)) == (wide.sum(), (wide**2).sum())


def examples(labels):
    indices = np.arange(len(labels))
    return Examples(indices, (indices[:, None] + np.arange(4)).astype(np.uint8), np.array(labels, np.int64))


def dataset_of(folder, labels):
    """Write a data set of three classes with one shard, which is in both splits; labels may be out of range."""
    data, info = encode_shard("train-00000-of-00001.tfrecord", examples(labels), 3)
    info = info.model_copy(update={"class_counts": (len(labels), 0, 0)})
    splits = {"train": summarize_shards((info,), 4), "test": summarize_shards((info,), 4)}
    config = PreprocessConfig(seed=1, num_shards=1)
    fields = {"name": "few", "height": 2, "width": 2, "class_names": ("a", "b", "c"), "sources": (), "num_rejected": 0}
    manifest = Manifest(**fields, config=config, splits=splits, rejected=None)
    place = folder / manifest.dataset_id
    place.mkdir(exist_ok=True)
    (place / info.name).write_bytes(data)
    return place, manifest, info


@pytest.mark.parametrize("verified", [False, True])
def test_label_out_of_range_is_corrupt(verified, tmp_path):
    for labels in ([], [0, 2, 1]):
        place, manifest, info = dataset_of(tmp_path, labels)
        assert read_shard(place, manifest, "train", info, verified=verified).labels.tolist() == labels
    place, manifest, info = dataset_of(tmp_path, [0, 3, 1])
    with pytest.raises(CorruptArtefact, match=f"^{manifest.dataset_id}: an example has the label 3, which is no class"):
        read_shard(place, manifest, "train", info, verified=verified)


@pytest.mark.parametrize("verified", [False, True])
@pytest.mark.parametrize("is_remote", [False, True])
def test_a_shard_that_changed_is_corrupt(is_remote, verified, tmp_path, memory):
    place, manifest, info = dataset_of(tmp_path, [0, 2, 1])
    shard = place / info.name
    data = shard.read_bytes()
    if is_remote:
        place = RemotePath("memory://b/datasets") / manifest.dataset_id
        shard = place / info.name
    flipped = data[:40] + bytes([data[40] ^ 1]) + data[41:]
    checksum = "CRC-32C" if verified else "SHA-256"
    cases = [
        (flipped, f"is corrupt: expected {info.crc32c if verified else info.sha256} {checksum}, found"),
        (data[:-1], f"is corrupt: expected {len(data)} bytes, found {len(data) - 1}"),
        (data + b"x", f"is corrupt: expected {len(data)} bytes, found {len(data) + 1}"),
        (b"", f"is corrupt: expected {len(data)} bytes, found 0"),
    ]
    for content, message in cases:
        write_atomically(shard, content)
        with pytest.raises(CorruptArtefact, match=f"^{shard} {message}"):
            read_shard(place, manifest, "train", info, verified=verified)
    remove_file(shard)
    with pytest.raises(CorruptArtefact, match=f"^{shard} is missing: expected {len(data)} bytes"):
        read_shard(place, manifest, "train", info, verified=verified)
    write_atomically(shard, data)
    assert read_shard(place, manifest, "train", info, verified=verified).labels.tolist() == [0, 2, 1]


def test_a_shard_that_is_cut_while_it_is_read_is_corrupt(tmp_path, monkeypatch):
    place, manifest, info = dataset_of(tmp_path, [0, 2, 1])
    monkeypatch.setattr(shards, "read_into", lambda *_: info.num_bytes - 1)
    with pytest.raises(CorruptArtefact, match=f"expected {info.num_bytes} bytes, found {info.num_bytes - 1}"):
        read_shard(place, manifest, "train", info)


def test_examples_stay_when_the_memory_of_their_shard_is_used_again(tmp_path):
    shared = ShardMemory()
    for labels in ([0, 2, 1] * 5, [1], [2, 0] * 20):
        place, manifest, info = dataset_of(tmp_path, labels)
        found = read_shard(place, manifest, "train", info, memory=shared)
        with shared.read(place / info.name, info.num_bytes) as content:
            content[:] = 0
        assert found.labels.tolist() == labels
        np.testing.assert_array_equal(found.images, examples(labels).images)


def test_threads_that_read_at_the_same_time_do_not_share_memory(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text(path.name)
    shared = ShardMemory()
    with shared.read(paths[0], 1) as first, shared.read(paths[1], 1) as second:
        assert (first.tobytes(), second.tobytes()) == (b"a", b"b")
    with shared.read(paths[2], 1) as third:
        assert np.shares_memory(third, first) != np.shares_memory(third, second)


@pytest.mark.parametrize("num_shards", [1, 3, MAX_SHARDS])
def test_shards_have_equal_ranges_of_keys(num_shards):
    keys = np.array([0, 2**32 - 1, 2**63, 2**64 - 2**32, 2**64 - 1], np.uint64)
    expected = [int(key) // 2**32 * num_shards // 2**32 for key in keys.tolist()]
    assert shard_of(keys, num_shards).tolist() == expected
    assert (expected[0], expected[-1]) == (0, num_shards - 1)


@pytest.mark.parametrize(("pixels", "mean"), [(np.zeros((0, 1), np.uint8), 0), (np.full((1, 1), 9, np.uint8), 9)])
def test_pixel_statistics_of_no_or_one_pixel(pixels, mean):
    zeros = np.zeros(len(pixels), np.int64)
    split = summarize_shards((encode_shard("train", Examples(zeros, pixels, zeros), 3)[1],), 1)
    assert (split.num_examples, split.pixel_mean, split.pixel_std) == (len(pixels), mean, 0)


def test_negative_variance_by_rounding_gives_zero():
    """All pixels have the same value except one, which is one less."""
    value, count = 10, 1_369_178_611_870_465
    total, squares = value * count - 1, value**2 * count - (2 * value - 1)
    changes = {"class_counts": (count, 0, 0), "pixel_sum": total, "pixel_square_sum": squares}
    shard = encode_shard("train", examples([0]), 3)[1].model_copy(update=changes)
    assert squares / count - (total / count) ** 2 < 0
    assert summarize_shards((shard,), 1).pixel_std == 0
