"""HTML pages, parsed: what a test wants to know of them."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

_WITHOUT_CONTENT = {"meta", "img", "input", "br", "link"}

# names that would run or load something, or end what they stand in, were they not escaped
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</script></style></title><svg onload=alert(3)>",
    "javascript:alert(4)",
    "'; alert(5); //\u2028{{ 7 * 7 }}<!--<script>",
)


class Page(HTMLParser):
    """A page's elements in order, each a dict of its attributes, `tag`, `text`, and the ids it stands `within`."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[dict[str, Any]] = []
        self._open: list[dict[str, Any]] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {[each['tag'] for each in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        within = [each["id"] for each in self._open if "id" in each]
        self.elements.append({**dict(attrs), "tag": tag, "text": "", "within": within})
        if tag not in _WITHOUT_CONTENT:
            self._open.append(self.elements[-1])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _WITHOUT_CONTENT:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        opened = self._open.pop()["tag"]
        assert opened == tag, f"</{tag}> closes <{opened}>"

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element["text"] += data

    def all(self, tag: str, within: str | None = None) -> list[dict[str, Any]]:
        return [each for each in self.elements if each["tag"] == tag and (within is None or within in each["within"])]

    def by_id(self, name: str) -> dict[str, Any]:
        [found] = [each for each in self.elements if each.get("id") == name]
        return found

    def rows(self, within: str) -> list[list[str]]:
        rows: list[list[str]] = []
        for element in self.elements:
            if within in element["within"] and element["tag"] == "tr":
                rows.append([])
            elif within in element["within"] and element["tag"] in ("td", "th"):
                rows[-1].append(" ".join(element["text"].split()))
        return rows


def read_page(path: str | Path) -> Page:
    return Page(Path(path).read_text("utf-8"))
