import pickle

import pytest
from apache_beam.internal import pickler

from model.errors import EngineFailed
from pipeline import code_version
from pipeline.code_version import CodeIdentity, SameCode, code_identity


def multiply(value: int, factor: int = 1) -> int:
    return value * factor


@pytest.mark.parametrize(("dumps", "loads"), [(pickle.dumps, pickle.loads), (pickler.dumps, pickler.loads)])
def test_the_same_code_calls_the_function(dumps, loads):
    assert loads(dumps(SameCode(multiply, factor=3)))(5) == 15


@pytest.mark.parametrize(
    ("name", "replacement"),
    [
        ("code_digest", lambda: "f" * 64),
        ("version", lambda _: "9.9"),
    ],
)
def test_unpickling_with_other_code_fails_and_names_both_versions(name, replacement, monkeypatch):
    pickled = pickle.dumps(SameCode(multiply))
    own = code_identity()
    monkeypatch.setattr(code_version, name, replacement)
    monkeypatch.setattr(code_version, "code_identity", code_identity.__wrapped__)
    with pytest.raises(EngineFailed) as raised:
        pickle.loads(pickled)  # noqa: S301
    assert str(own) in str(raised.value)
    assert str(code_identity()) in str(raised.value)


def test_the_code_is_compared_before_the_function_is_looked_up(monkeypatch):
    pickled = pickle.dumps(SameCode(multiply)).replace(b"multiply", b"multiple")  # a name that the module lacks
    with pytest.raises(AttributeError):
        pickle.loads(pickled)  # noqa: S301
    monkeypatch.setattr(code_version, "code_identity", lambda: CodeIdentity("9.9", "f" * 64))
    with pytest.raises(EngineFailed, match=r"a worker runs backbeam 9\.9"):
        pickle.loads(pickled)  # noqa: S301
