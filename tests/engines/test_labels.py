"""The labels of Beam's transforms, which engines show and name their operators by."""

from functools import partial

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.portable_runner import PortableRunner

from model.errors import CorruptArtefact, EngineFailed
from pipeline.evaluate import beam_job as evaluation
from pipeline.evaluate.shard_predictions import EvaluationJob, list_shards
from pipeline.evaluate.slices import SLICINGS
from pipeline.maintenance import verify_job as verification
from pipeline.maintenance.findings import ExpectedFile
from pipeline.maintenance.inventory import VerifyScope, take_inventory
from pipeline.preprocess import beam_job as preprocessing
from pipeline.preprocess import scan_job as scanning
from pipeline.preprocess import validation_job as validation
from pipeline.preprocess.manifest import PreprocessConfig
from pipeline.sources.source_lookup import find_source, scan_source
from pipeline.train.run_lookup import find_run

MOST_CHARACTERS = 150


def build_labels(labels, _, options_class, arguments, build):
    pipeline = beam.Pipeline(options=options_class(["--runner=FnApiRunner", *arguments]))
    build(pipeline)
    optimized = PortableRunner._optimize_pipeline(pipeline.to_runner_api(), pipeline.options)  # as clusters get it
    labels.extend(each.unique_name for each in optimized.components.transforms.values())


def preprocess_job(workspace, folder):
    scans = scan_source(find_source("mnist-5k", None, folder))
    preprocessing.preprocess(scans, "mnist-5k", PreprocessConfig(seed=1, num_shards=1), folder / "data", 0, [])


def scan_job(workspace, folder):
    list(scanning.run_tasks(abs, [-1, 2], int, folder / "scratch", []))


def evaluate_job(workspace, folder):
    run, data = find_run(workspace, None)
    job = EvaluationJob(workspace, data.folder, data.manifest.without_shards(), run, SLICINGS)
    build = partial(evaluation.build_pipeline, job=job, shards=list_shards(data.manifest))
    evaluation.run_pipeline(beam, PipelineOptions, [], build)
    evaluation.answer_test_split(workspace, data, run, folder, [])


def validate_job(workspace, _):
    validation.flag_by_workers(find_run(workspace, None)[1], [])


def verify_job(workspace, _):
    files = [item for item in take_inventory(VerifyScope(workspace)) if isinstance(item, ExpectedFile)]
    verification.check_by_workers(workspace, files, [])


@pytest.mark.parametrize(
    ("module", "job"),
    [
        (scanning, scan_job),
        (preprocessing, preprocess_job),
        (validation, validate_job),
        (evaluation, evaluate_job),
        (verification, verify_job),
    ],
    ids=["scan", "preprocess", "validate", "evaluate", "verify"],
)
def test_labels_are_short_and_name_no_path_or_address(module, job, digits_run, tmp_path, monkeypatch):
    labels = []
    monkeypatch.setattr(module, "run_pipeline", partial(build_labels, labels))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises((EngineFailed, CorruptArtefact)):  # a job that is built and not run writes nothing
        job(digits_run, tmp_path)
    assert labels
    strange = [
        label for label in labels if "0x" in label or str(tmp_path.parent) in label or len(label) > MOST_CHARACTERS
    ]
    assert strange == []
    assert not [label for label in labels if str(digits_run) in label]
