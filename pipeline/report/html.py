"""Render pages, one file each, from Jinja2 templates with autoescape; style and script are inlined.

The Content-Security-Policy allows these two by their digests: injected scripts do not run and nothing is fetched.
"""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from math import isnan
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.progress import format_percent

STYLE = ("page.css",)
# modules, each after those that it imports
SCRIPTS = (
    *("network.js", "start.js", "points.js", "tape.js", "training.js", "page_model.js", "address.js", "layout.js"),
    *("drawing.js", "page.js", "pictures.js", "sentences.js", "chart.js", "stages.js", "explain.js", "diagram.js"),
    *("stage_viewer.js", "training_panel.js", "rate_panel.js", "check_panel.js", "unit_panel.js"),
    *("drawing_pad.js", "inspector.js"),
)

CURVE_SCRIPTS = ("chart.js", "curve.js")  # of pages with learning curves
INDEX_SCRIPTS = ("listing.js",)  # of the index page


def render(template: str, scripts: tuple[str, ...] = (), **values: Any) -> str:
    """Render a template of the package, with modules of the package or none, to HTML; every value is escaped."""
    style = _read_templates(STYLE)
    script = bundle_modules(scripts) if scripts else ""
    allowed = f"'{_digest(script)}'" if scripts else "'none'"
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )
    return _environment().get_template(template).render(style=style, script=script, policy=policy, **values)


def _format_decimal(number: float | None, digits: int = 4) -> str:
    """Format a number with a few significant digits; None and NaN are a dash."""
    return "-" if number is None or isnan(number) else f"{number:.{digits}g}"


def _format_subscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipeline.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": format_percent,
        "whole": "{:,}".format,
        "decimal": _format_decimal,
        "subscript": _format_subscript,
    }
    return environment


@cache
def _read_templates(names: tuple[str, ...]) -> str:
    folder = files("pipeline.report") / "templates"
    return "\n".join((folder / name).read_text("utf-8") for name in names)


@cache
def bundle_modules(names: tuple[str, ...]) -> str:
    """Return modules as one script, short names, no comments, no needless space: less than half of the bytes.

    `python -m tests.shorten_scripts` has shortened each module; a test checks that it is current.
    """
    return '"use strict";\n' + _read_templates(tuple(f"minified/{name}" for name in names))


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
