"""The transforms, composed with Beam's own in pipelines of a user."""

import shutil

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

import backbeam
from backbeam.beam import DatasetConfig, EvaluateModel, PreprocessImages, open_evaluation, open_preprocessing
from tests.helpers import contents, without_time_made

RUN = "article-manual-seed1"
RUNNER = "FnApiRunner"


def count_examples(manifest):
    return [(name, split.num_examples) for name, split in manifest.splits.items()]


def test_preprocess_images_writes_what_the_command_writes(seeds_run, tmp_path):
    workspace = tmp_path / "ws"
    config = DatasetConfig((str(seeds_run.parent / "digits"),), num_shards=3)
    with open_preprocessing(str(workspace), config) as (job, ranges), beam.Pipeline(runner=RUNNER) as pipeline:
        blocks = pipeline | beam.Create(ranges)
        counted = blocks | beam.Map(lambda block: block.num_examples) | beam.CombineGlobally(sum)
        assert_that(counted, equal_to([80]), "side branch")
        sizes = blocks | PreprocessImages(job) | beam.FlatMap(count_examples)
        assert_that(sizes, equal_to([("train", 60), ("test", 20)]))
    made = {name: data for name, data in contents(workspace).items() if name.startswith(("datasets", "origins"))}
    found = {name: data for name, data in contents(seeds_run).items() if name in made}
    assert without_time_made(made) == without_time_made(found)
    assert len(made) == 6  # three shards and one, the manifest and the origin
    with pytest.raises(backbeam.BadUsage, match="complete already"), open_preprocessing(str(workspace), config):
        pass


def test_evaluate_model_writes_what_the_command_writes(seeds_run, tmp_path):
    workspace = shutil.copytree(seeds_run, tmp_path / "ws")
    with pytest.raises(backbeam.BadUsage, match="evaluated already"), open_evaluation(str(workspace), RUN):
        pass
    before = contents(workspace)
    next(workspace.glob(f"runs/{RUN}*/evaluation.json")).unlink()
    with open_evaluation(str(workspace), RUN) as (job, shards), beam.Pipeline(runner=RUNNER) as pipeline:
        elements = pipeline | beam.Create(shards)
        assert_that(
            elements | beam.Map(lambda shard: shard.split) | beam.Distinct(), equal_to(["train", "test"]), "side"
        )
        records = elements | EvaluateModel(job)
        assert_that(records | beam.Map(lambda record: record.test_result().num_examples), equal_to([20]))
    assert contents(workspace) == before


def test_pipeline_that_fails_leaves_nothing(seeds_run, tmp_path):
    config = DatasetConfig((str(seeds_run.parent / "digits"),))
    with pytest.raises(backbeam.EngineFailed, match="wrote no manifest"), open_preprocessing(str(tmp_path), config):
        pass  # without a pipeline
    assert list(tmp_path.glob("datasets/*")) == []
