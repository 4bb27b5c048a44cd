"""Open a written page in the browser of this machine."""

import webbrowser
from pathlib import Path

from model.errors import BadUsage
from pipeline.progress import warn
from pipeline.storage.places import Place


def check_can_open(page: Place) -> None:
    """Raise BadUsage if a page is in a store, before it is written."""
    if not isinstance(page, Path):
        raise BadUsage(
            f"--open needs a page on this machine, and {page} is in a store: leave it out, or give --to FILE"
        )


def open_page(page: Place) -> None:
    """Open a page in the default browser; if there is none, warn, as the page was written all the same."""
    check_can_open(page)
    if not webbrowser.open(Path(str(page)).absolute().as_uri()):
        warn(f"warning: found no browser to open {page}; the variable BROWSER may name one")
