import pickle

import pytest
from apache_beam.internal import pickler

from model.errors import EngineFailed
from pipeline import beam_runner
from pipeline.beam_runner import CodeIdentity, SameCode, _translate, code_identity


def of_the_driver(value: int, factor: int = 1) -> int:
    return value * factor


@pytest.mark.parametrize(("dumps", "loads"), [(pickle.dumps, pickle.loads), (pickler.dumps, pickler.loads)])
def test_the_same_code_calls_the_function(dumps, loads):
    assert loads(dumps(SameCode(of_the_driver, factor=3)))(5) == 15


@pytest.mark.parametrize(
    ("changed", "other"),
    [
        ("code_digest", lambda: "f" * 64),
        ("version", lambda _: "9.9"),
    ],
)
def test_other_code_is_refused_and_both_are_named(changed, other, monkeypatch):
    pickled = pickle.dumps(SameCode(of_the_driver))
    own = code_identity()
    monkeypatch.setattr(beam_runner, changed, other)
    monkeypatch.setattr(beam_runner, "code_identity", code_identity.__wrapped__)
    with pytest.raises(EngineFailed) as raised:
        pickle.loads(pickled)  # noqa: S301
    assert str(own) in str(raised.value)
    assert str(code_identity()) in str(raised.value)


def test_other_code_is_refused_before_a_function_that_it_lacks_is_looked_for(monkeypatch):
    pickled = pickle.dumps(SameCode(of_the_driver)).replace(b"of_the_driver", b"of_the_worker")
    with pytest.raises(AttributeError):
        pickle.loads(pickled)  # noqa: S301
    monkeypatch.setattr(beam_runner, "code_identity", lambda: CodeIdentity("9.9", "f" * 64))
    with pytest.raises(EngineFailed, match=r"a worker runs backbeam 9\.9"):
        pickle.loads(pickled)  # noqa: S301


@pytest.mark.parametrize(
    "told",
    [
        "ModuleNotFoundError: No module named 'pipeline.beam_runner'",
        "ModuleNotFoundError: No module named 'model.errors'; 'model' is not a package",
        "AttributeError: Can't get attribute 'cut' on <module 'pipeline.preprocess' from '/old/p.py'>",
        "AttributeError: module 'pipeline' has no attribute 'preprocess'",
    ],
)
def test_a_worker_that_lacks_the_code_is_told_apart_from_other_failures(told):
    problem = _translate(RuntimeError(f"Traceback (most recent call last):\n  line 1\n{told}\n\n"))
    assert isinstance(problem, EngineFailed)
    assert told.partition(": ")[2] in str(problem)
    assert str(code_identity()) in str(problem)


def test_other_errors_are_told_as_they_are():
    problem = _translate(RuntimeError("Traceback\nModuleNotFoundError: No module named 'my_slices'\n"))
    assert str(problem) == "the engine failed: RuntimeError: ModuleNotFoundError: No module named 'my_slices'"
