"""Take the documentation's pictures of the report: python -m tests.screenshots FOLDER.

The main job runs on the embedded digits in a workspace of its own, and Chromium shows the page that comes of it.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from selenium.webdriver import Chrome

from tests import browser
from tests.helpers import backbeam

WIDTH, HEIGHT = 1000, 900  # pixels
NUM_COLOURS = 128  # enough for a page, and a third of the bytes


def main() -> None:
    if not browser.is_installed():
        sys.exit(browser.MISSING)
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder, browser.chromium() as driver:
        page = Path(folder) / "page.html"
        for arguments in (["run"], ["report", "--to", page]):
            done = backbeam(*arguments, "--workspace", Path(folder) / "workspace")
            if done.code:
                sys.exit(done.err)
        browser.show(driver, page, WIDTH, HEIGHT)
        save(browser.take_picture(driver, "header", ".confusion"), target / "report.png")
        save(inspector_picture(driver), target / "inspector.png")


def inspector_picture(driver: Chrome) -> bytes:
    """Show the inspector at the gradients of the first layer."""
    forth = browser.inspector(driver, "next")
    while browser.inspector(driver, "title").text != "The gradients of layer 1":
        forth.click()
    return browser.take_picture(driver, "#inspector", "#inspector", 0)


def save(picture: bytes, path: Path) -> None:
    image = Image.open(io.BytesIO(picture)).convert("RGB").quantize(NUM_COLOURS, dither=Image.Dither.NONE)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")  # noqa: T201 - what the command is asked for


if __name__ == "__main__":
    main()
