"""Labels that begin at 1, as those of EMNIST's letters do."""

from contextlib import ExitStack

import numpy as np
import pytest

from model.errors import BadInput, BadUsage
from pipeline.preprocess.dataset import load_dataset
from pipeline.preprocess.provenance import Origin, options_given
from pipeline.sources.blocks import ExampleFormat, choose_class_names
from pipeline.sources.catalog import FILE_NAMES
from pipeline.sources.source_lookup import find_source, scan_source
from tests.helpers import Digits, labels_bytes, run_in_process, write_files
from tests.pictures import write_rows, write_tree

TRAIN = np.arange(60) % 3 + 1
HINT = "labels begin at 1: they are 1 to 3, and none is 0; to read them as 3 classes, give --first-label 1"


def write_idx(folder, train=TRAIN):
    files = {FILE_NAMES[1]: labels_bytes(train), FILE_NAMES[3]: labels_bytes(np.arange(20) % 3 + 1)}
    return write_files(folder, Digits().files() | files)


class Shifted(Digits):
    def split(self, number, num_examples):
        images, labels = super().split(number, num_examples)
        return images, labels + 1


def write_shifted_rows(folder):
    return write_rows(folder, Shifted())


def read(folder, tmp_path, **options):
    scans = scan_source(find_source(str(folder), None, tmp_path), **options)
    target = ExampleFormat(*scans.image_size, len(scans.class_names), scans.channel, scans.first_label)
    with ExitStack() as stack:
        blocks = [block for each in scans.splits["train"].open(stack, tmp_path) for block in each.read(target)]
    return scans, blocks


@pytest.mark.parametrize("write", [write_idx, write_shifted_rows])
def test_labels_from_1_on_are_read_as_the_first_class(write, tmp_path):
    folder = write(tmp_path / "letters")
    for num_classes in (None, 3):  # 3 would lose the last class
        with pytest.raises(BadInput, match=HINT):
            read(folder, tmp_path, num_classes=num_classes)
    assert read(folder, tmp_path, num_classes=4)[0].class_names == ("0", "1", "2", "3")
    scans, blocks = read(folder, tmp_path, first_label=1)
    assert scans.class_names == ("1", "2", "3")
    assert np.concatenate([block.examples.labels for block in blocks]).tolist() == (TRAIN - 1).tolist()
    assert not any(block.rejected for block in blocks)


def test_labels_outside_are_rejected_by_their_own_number(tmp_path):
    folder = write_idx(tmp_path / "letters", np.array([0, 5, *TRAIN[2:]]))
    _, [block] = read(folder, tmp_path, first_label=1, num_classes=3)
    reasons = ["label 0 is below 1, the first label", "label 5 is not below 4"]
    assert [example.reason for example in block.rejected] == reasons


def test_named_classes_begin_at_0(tmp_path):
    with pytest.raises(BadUsage, match="--first-label 1: tree has its own classes, of which the first has the label 0"):
        read(write_tree(tmp_path / "tree"), tmp_path, first_label=1)
    with pytest.raises(BadInput, match="none is 0, 2, 3; say how many classes there are with --num-classes, and"):
        choose_class_names(None, {1, 2, 4} - {2}, None, "x")


@pytest.mark.thorough
def test_first_label_goes_to_those_of_several_sources_that_do_not_name_their_classes(tmp_path):
    idx = write_idx(tmp_path / "letters")
    tree = write_tree(tmp_path / "tree", Shifted())
    place = ("--workspace", tmp_path / "ws")
    done = run_in_process("preprocess", tree, idx, *place, "--first-label", 1, "-q")
    assert done.code == 0, done.err
    assert "is read without --first-label, which goes to other sources: it names its classes" in done.err
    [manifest] = (load_dataset(folder).manifest for folder in tmp_path.glob("ws/datasets/tree-and-*"))
    assert manifest.class_names == ("1", "2", "3")
    for shard in tmp_path.glob("ws/datasets/tree-*/train-*"):
        shard.unlink()
    assert run_in_process("verify", "--repair", *place).code == 0
    refused = run_in_process(
        "preprocess", tree, write_tree(tmp_path / "x", Shifted(seed=1)), *place, "--first-label", 1, "-q"
    )
    assert (refused.code, "--first-label fits none of the sources" in refused.err) == (2, True)


def test_origin_keeps_the_first_label():
    fields = {"dataset_id": "x", "datasets": ("x",), "data_dir": None, "num_classes": None, "num_shards": None}
    columns = {"shuffle_seed": 1, "max_rejected": 0, "image_column": None, "label_column": None, "image_size": None}
    assert options_given(Origin(**fields, **columns, first_label=1))[-2:] == ["--first-label", "1"]
    assert b"first_label" not in Origin(**fields, **columns).to_json()
