"""The table [retention]."""

import pytest

from model.errors import BadUsage
from pipeline.maintenance.retention_config import Retention, resolve_retention


def test_a_table_gives_one_rule_or_both():
    assert resolve_retention(None) is None
    assert resolve_retention({"keep": 3}) == Retention(keep=3)
    assert str(resolve_retention({"keep": 0, "keep_days": 30})) == "--keep 0 --keep-days 30"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "retention: says neither keep nor keep_days"),
        ({"keep": -1}, "retention.keep: .* greater than or equal to 0, found -1"),
        ({"keep": True}, "retention.keep: "),
        ({"keep_days": 1.5}, "retention.keep_days: "),
        ({"kept": 3}, "retention: no such setting"),
    ],
)
def test_other_settings_are_refused(table, message):
    with pytest.raises(BadUsage, match=message):
        resolve_retention(table)
