"""Every backbeam command that the pages of deploy/ show: it exists, and so do its options."""

import pytest

from tests.deploy.parts import DEPLOY, check_beam_options, check_command, shown_commands

PAGES = sorted(DEPLOY.rglob("*.md"))
SHOWN = [(page, words) for page in PAGES for words in shown_commands(page)]


def test_pages_are_read():
    assert len(SHOWN) > 15
    assert {page.parent.name for page, _ in SHOWN} >= {"deploy", "dataflow", "vertex"}


@pytest.mark.parametrize(
    ("page", "words"), SHOWN, ids=lambda part: part.parent.name if hasattr(part, "parent") else part[0]
)
def test_a_command(page, words):
    check_command(words)
    if "--" in words and "..." not in words:
        check_beam_options(words)
