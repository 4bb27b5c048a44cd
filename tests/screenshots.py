"""Take the documentation's pictures of the report and of a terminal: python -m tests.screenshots FOLDER.

The main job runs on the embedded digits in a workspace of its own, and Chromium shows the page that comes of it.
"""

import io
import os
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text
from selenium.webdriver import Chrome

from tests import browser
from tests.helpers import BACKBEAM, backbeam, on_terminal

WIDTH, HEIGHT = 1000, 900  # pixels
TALL = 2600  # more than the pictures of the page: what stays at the lower edge of the screen is not on them
COLUMNS = 118
SESSION = (
    "backbeam run",
    "backbeam run --seed 2 --quiet",
    "backbeam runs",
    "backbeam compare article-manual-seed1 article-manual-seed2",
)
NOT_SHOWN = SESSION[1:2]  # it looks like the first
TERMINAL = """<meta charset="utf-8"><style>body {{ background: #16181d; margin: 0 }}
pre {{ font: 13.5px/1.25 "DejaVu Sans Mono", monospace; color: #e6e6e6; background: #16181d; margin: 0; padding: 16px }}
</style><pre>{code}</pre>"""
NUM_COLOURS = 128  # enough for a page, and a third of the bytes


def main() -> None:
    if not browser.is_installed():
        sys.exit(browser.MISSING)
    target = Path(sys.argv[1]).absolute()
    with tempfile.TemporaryDirectory() as folder, browser.chromium() as driver:
        page = Path(folder) / "page.html"
        os.chdir(folder)  # so that the terminal shows the commands as they are called
        printed = terminal_session()
        done = backbeam("report", "article-manual-seed1", "--to", page)
        if done.code:
            sys.exit(done.err)
        browser.show(driver, page, WIDTH, TALL)
        save(browser.take_picture(driver, "header", "#inspector-stage"), target / "report.png")
        save(inspector_picture(driver), target / "inspector.png")
        save(terminal_picture(driver, printed, Path(folder) / "terminal.html"), target / "terminal.png")


def inspector_picture(driver: Chrome) -> bytes:
    while browser.inspector(driver, "title").text != "The gradients of layer 1":
        browser.press(driver, "next")
    driver.execute_script("inspector.started.viewer.picture.point({ kind: 'unit', layer: 1, unit: 5 })")
    return browser.take_picture(driver, "#inspector", "#inspector-stage", 0)


def terminal_session() -> str:
    """Run commands as a user would at a terminal; return what it shows, escape sequences included."""
    os.environ["PATH"] = os.pathsep.join([str(BACKBEAM.parent), os.environ["PATH"]])  # as after `activate`
    printed = []
    for command in SESSION:
        output = on_terminal(*command.split()[1:], num_columns=COLUMNS)
        if command not in NOT_SHOWN:
            printed.append((command, output))
    return "\n".join(f"\x1b[32m$\x1b[0m \x1b[1m{command}\x1b[0m\n{output}" for command, output in printed)


def terminal_picture(driver: Chrome, printed: str, page: Path) -> bytes:
    recorder = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    recorder.print(Text.from_ansi(printed))
    page.write_text(recorder.export_html(code_format=TERMINAL, inline_styles=True))
    browser.show(driver, page, WIDTH, HEIGHT)
    return browser.take_picture(driver, "pre", "pre", 0)


def save(picture: bytes, path: Path) -> None:
    image = Image.open(io.BytesIO(picture)).convert("RGB").quantize(NUM_COLOURS, dither=Image.Dither.NONE)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")  # noqa: T201 - what the command is asked for


if __name__ == "__main__":
    main()
