import pytest

from model.errors import BadUsage
from pipeline.evaluate.seeds import parse_seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("1-5", (1, 2, 3, 4, 5)), ("7", (7,)), ("3,1,10-12", (3, 1, 10, 11, 12)), ("0,2147483647", (0, 2**31 - 1))],
)
def test_seeds_are_parsed(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "5-1", "1,,2", "1,1", "1-3,2", "2147483648", "0-1000", "1 2"])
def test_malformed_seeds_are_rejected(text):
    with pytest.raises(BadUsage, match="--seeds"):
        parse_seeds(text)
