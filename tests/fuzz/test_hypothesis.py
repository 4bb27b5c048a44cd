"""Spoilt samples and arbitrary bytes for every reader: the same ones every time. `make fuzz` tries more of them."""

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.bounded import SEEDS
from tests.fuzz.mutations import spoilt, spoilt_json
from tests.fuzz.targets import TARGETS

NUM_EXAMPLES = 100


def kept(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((SEEDS / name).iterdir())]


def inputs(name: str) -> st.SearchStrategy[bytes]:
    samples = kept(name)
    structured = [data for data in samples if _is_object(data)]
    more = [spoilt_json(structured)] * 3 if structured else []
    return st.one_of(spoilt(samples), *more, spoilt(samples), st.binary(max_size=200))


def _is_object(data: bytes) -> bool:
    with suppress(ValueError, RecursionError):
        return isinstance(json.loads(data), dict)
    return False


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_kept(name, record_property):
    """Samples, and every input that once found something."""
    found = kept(name)
    for data in found:
        TARGETS[name](data)
    record_property("hostile inputs tried", len(found))


@pytest.mark.parametrize("name", TARGETS)
def test_spoilt_samples(name, record_property):
    tried = 0

    @settings(max_examples=NUM_EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
    @given(inputs(name))
    def read(data):
        nonlocal tried
        tried += 1
        TARGETS[name](data)

    read()
    record_property("hostile inputs tried", tried)
