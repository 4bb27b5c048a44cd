"""Hooks of mkdocs.yml: README.md as the first page of the site, and links to files that the site does not have."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(?<!!)\[([^]]*)\]\((\.\./[^()\s]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add README.md as index.md."""
    from mkdocs.structure.files import File

    text = (ROOT / "README.md").read_text()
    files.append(File.generated(config, "index.md", content=index_of(text)))
    return files


def index_of(readme: str) -> str:
    """Return README.md with its links as seen from docs/: `docs/learn.md` is `learn.md`, others are below `../`."""
    return re.sub(r"\]\((docs/)?(?![a-z]+:|#)", lambda match: "](" if match[1] else "](../", readme)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace links that lead out of docs/ by their text; those to README.md lead to the first page."""
    return _LINK.sub(_replace_link, markdown)


def _replace_link(match: re.Match[str]) -> str:
    text, target = match.groups()
    if target.startswith("../README.md"):
        return f"[{text}]({target.replace('../README.md', 'index.md')})"
    place = target.removeprefix("../").partition("#")[0]
    return text if text.strip("`") == place else f"{text} (`{place}`)"
