import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from model.errors import EngineFailed
from pipeline.beam_runner import _translate_error, run_pipeline
from pipeline.processes import code_identity


def test_another_local_runner_runs_where_beam_has_not_imported_the_default_one(monkeypatch):
    monkeypatch.delattr(beam.runners.portability, "fn_api_runner", raising=False)
    arguments = ["--runner=BundleBasedDirectRunner"]
    run_pipeline(beam, PipelineOptions, arguments, lambda p: p | beam.Create([1]) | beam.Map(abs))


@pytest.mark.parametrize(
    "message",
    [
        "ModuleNotFoundError: No module named 'pipeline.beam_runner'",
        "ModuleNotFoundError: No module named 'model.errors'; 'model' is not a package",
        "AttributeError: Can't get attribute 'cut' on <module 'pipeline.preprocess' from '/old/p.py'>",
        "AttributeError: module 'pipeline' has no attribute 'preprocess'",
    ],
)
def test_a_worker_without_the_driver_s_code_is_reported_with_its_version(message):
    problem = _translate_error(RuntimeError(f"Traceback (most recent call last):\n  line 1\n{message}\n\n"))
    assert isinstance(problem, EngineFailed)
    assert message.partition(": ")[2] in str(problem)
    assert str(code_identity()) in str(problem)


def test_other_errors_of_an_engine_keep_their_message():
    problem = _translate_error(RuntimeError("Traceback\nModuleNotFoundError: No module named 'my_slices'\n"))
    assert str(problem) == "the engine failed: RuntimeError: ModuleNotFoundError: No module named 'my_slices'"
