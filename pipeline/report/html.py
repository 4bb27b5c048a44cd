"""Pages from records: Jinja2 templates with autoescape, and a policy that lets nothing run or load but the page's own.

A page is one file. Its style and its script are package data, inlined; the Content-Security-Policy names their digests,
so that nothing that data could bring in would run, and nothing can be fetched.
"""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.progress import format_percent

STYLE = ("page.css",)
SCRIPTS = ("network.js", "drawing.js", "equations.js", "pictures.js", "inspector.js")


def render(template: str, **values: Any) -> str:
    """Render a template of the package to HTML; every value is escaped."""
    style, script = _text_of(STYLE), _text_of(SCRIPTS)
    policy = content_security_policy(style, script)
    return _environment().get_template(template).render(style=style, script=script, policy=policy, **values)


def content_security_policy(style: str, script: str) -> str:
    """Return the policy that allows this style, this script and pictures in data URIs, and nothing else."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def whole(number: int) -> str:
    """Write a whole number with commas between thousands."""
    return f"{number:,}"


def decimal(number: float | None, digits: int = 4) -> str:
    """Write a number with a few significant digits; a dash for none, and for what is no number."""
    return "-" if number is None or number != number else f"{number:.{digits}g}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipeline.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": format_percent, "whole": whole, "decimal": decimal}
    return environment


@cache
def _text_of(names: tuple[str, ...]) -> str:
    folder = files("pipeline.report") / "templates"
    return "\n".join((folder / name).read_text("utf-8") for name in names)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
