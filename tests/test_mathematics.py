"""The page that teaches the mathematics shows what the code gives."""

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "mathematics.md"


class _WithoutFences(doctest.DocTestParser):
    """Markdown's fences would be taken for expected output."""

    def get_examples(self, string, name="<string>"):
        return super().get_examples(string.replace("```python\n", "\n").replace("```\n", "\n"), name)


def test_every_line_gives_what_the_page_shows():
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, parser=_WithoutFences())
    assert failed == 0
    assert tried > 50
