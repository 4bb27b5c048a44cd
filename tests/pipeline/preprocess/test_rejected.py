"""Rejected examples are counted by split and class, and too many of them fail the validation."""

import numpy as np
import pytest

from model.errors import BadInput
from pipeline.cli.dataset_output import build_dataset_output
from pipeline.context import StageContext, StageLog
from pipeline.maintenance.reproduce import _compare_datasets
from pipeline.preprocess.dataset import load_dataset
from pipeline.preprocess.manifest import RejectedCounts, commit_manifest
from pipeline.preprocess.stage import DatasetConfig, preprocess_stage, validate_stage
from pipeline.preprocess.validation_config import resolve_checks
from pipeline.sources.catalog import PictureOptions
from tests.helpers import Digits
from tests.pictures import png, write_tree

LAX = {
    name: {"severity": "warning"} for name in ("rejected", "rejected_of_class", "test_in_train", "conflicting_labels")
}


def build(folder, *sources):
    config = DatasetConfig(tuple(map(str, sources)), None, None, None, None, 1, 1000, PictureOptions())
    context = StageContext(folder / "ws", ())
    return context, preprocess_stage(context, config, StageLog())


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A workspace, and a data set of which 20 train examples, all of class 1, and 1 test example are rejected."""
    folder = tmp_path_factory.mktemp("rejected")
    write_tree(folder / "tree")
    for path in [*folder.glob("tree/train/1/*"), folder / "tree" / "test" / "2" / "x.png"]:
        path.write_bytes(png(np.zeros((9, 9), np.uint8)))
    return folder, *build(folder, folder / "tree")


def test_rejected_examples_are_counted_by_split_and_class(built):
    manifest = built[2].manifest
    train = RejectedCounts(num_examples=20, class_counts=(0, 20, 0))
    assert manifest.rejected_counts == {"train": train, "test": RejectedCounts(num_examples=1, class_counts=(0, 0, 1))}


def test_many_rejected_examples_fail_the_validation_and_stand_in_the_summary(built):
    _, context, data = built
    with pytest.raises(BadInput) as caught:
        validate_stage(context, data, resolve_checks({}), None, StageLog())
    assert "rejected, split train: 0.3333, expected at most 0.1: share of the source's" in str(caught.value)
    assert "rejected_of_class, split train: 1, expected at most 0.1: largest share of a class's" in str(caught.value)
    assert "rejected, split test: " not in str(caught.value)
    record = validate_stage(context, data, resolve_checks(LAX), None, StageLog())
    outcomes = {(row.check, row.split): row.outcome for row in record.results}
    assert (outcomes["rejected", "train"], outcomes["rejected", "test"]) == ("warning", "warning")
    assert ", 21 rejected (25.93 %)" in str(build_dataset_output(context.workspace, data, record, StageLog())[1][0])


def test_pictures_of_several_sizes_are_refused_with_what_to_do(built):
    config = DatasetConfig((str(built[0] / "tree"),), None, None, None, None, 1, 0, PictureOptions())
    with pytest.raises(BadInput, match="To scale pictures to one size, give --resize HxW"):
        preprocess_stage(StageContext(built[0] / "none", ()), config, StageLog())


@pytest.mark.parametrize(
    ("share", "num_rejected", "message"),
    [
        (1e-6, 0, "no example fell into the test split: give a larger --test-share"),
        (1e-6, 1, "no example fell into the test split: give a larger --test-share"),
        (1 - 1e-6, 0, "no example fell into the train split: give a smaller --test-share"),
    ],
)
def test_share_that_leaves_a_split_empty_is_refused(share, num_rejected, message, tmp_path):
    classes = write_tree(tmp_path / "tree", Digits(num_train=9)) / "train"
    for path in [*classes.glob("*/*")][:num_rejected]:
        path.write_bytes(b"no picture")
    options = PictureOptions(test_share=share)
    config = DatasetConfig((str(classes),), None, None, None, None, 1, 5, options)
    with pytest.raises(BadInput, match=message):
        preprocess_stage(StageContext(tmp_path / "ws", ()), config, StageLog())


def test_joint_data_set_adds_up_and_says_that_backgrounds_differ(built, capsys):
    class Light(Digits):
        def split(self, number, num_examples):
            images, labels = super().split(number, num_examples)
            images[:, 0] = images[:, -1] = images[:, :, 0] = images[:, :, -1] = 255 * (number + self.seed) % 256
            return images, labels

    sources = [write_tree(built[0] / f"light{seed}", Light(seed=seed)) for seed in (0, 1)]
    _, joint = build(built[0], built[0] / "tree", *sources)
    assert joint.manifest.rejected_counts == built[2].manifest.rejected_counts
    assert "differ in their background, which is" in capsys.readouterr().err


def test_manifest_of_an_earlier_version_is_equal_to_that_of_today_without_the_new_fields(built, tmp_path):
    manifest = built[2].manifest
    folder = tmp_path / manifest.dataset_id
    commit_manifest(folder, manifest.model_copy(update={"pictures": None, "rejected_counts": {}}))
    earlier = load_dataset(folder)
    assert earlier.digest != built[2].digest
    assert {each.verdict for each in _compare_datasets(earlier, built[2])} == {"equal"}
