"""A headless Chromium for tests of pages: Debian's packages chromium and chromium-driver, driven by selenium."""

import base64
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

MISSING = "needs Chromium and its driver: apt-get install chromium chromium-driver"
_QUIET = (
    "--headless=new",
    "--no-sandbox",  # which root cannot have
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
)


def is_installed() -> bool:
    return all(shutil.which(name) for name in ("chromium", "chromedriver"))


@contextlib.contextmanager
def chromium() -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in _QUIET:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # Chromium may leave its profile behind, and may still write to it for a moment
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as own:
        service = Service(shutil.which("chromedriver"), env=os.environ | {"TMPDIR": own})
        driver = Chrome(options, service)
        try:
            yield driver
        finally:
            driver.quit()


def show(driver: Chrome, page: Path, width: int = 1100, height: int = 900, dark: bool = False) -> None:
    wished = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
    emulate_media(driver, "", wished)
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(page.absolute().as_uri())


def emulate_media(driver: Chrome, media: str, wished: dict[str, str]) -> None:
    """Let the page believe that it is on that medium (such as print) of a user with these wishes."""
    features = [{"name": name, "value": value} for name, value in wished.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def take_picture(driver: Chrome, first: str, last: str, margin: int = 24) -> bytes:
    """Return a PNG file of the page as wide as the screen, from the top of an element to the bottom of another."""
    ends = "return [...arguments].map((name) => document.querySelector(name).getBoundingClientRect())"
    boxes = driver.execute_script(ends, first, last)
    scrolled = driver.execute_script("return scrollY")
    top = max(0, boxes[0]["top"] + scrolled - margin)
    size = {"width": driver.execute_script("return innerWidth"), "height": boxes[1]["bottom"] + scrolled + margin - top}
    clip = {"x": 0, "y": top, **size, "scale": 1}
    how = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    return base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", how)["data"])


def print_page(driver: Chrome) -> bytes:
    how: dict[str, Any] = {"printBackground": True, "paperWidth": 8.27, "paperHeight": 11.69}
    return base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", how)["data"])


def inspector(driver: Chrome, name: str) -> WebElement:
    return driver.find_element(By.ID, f"inspector-{name}")


def press(driver: Chrome, name: str) -> None:
    """Click a part of the inspector; in the middle of the screen, as an edge is covered by a bar."""
    element = inspector(driver, name)
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    element.click()


def values_in(driver: Chrome, script: str, *arguments: Any) -> Any:
    """Run JavaScript that gives typed arrays, as lists: the driver would make objects of them."""
    text = driver.execute_script(
        "const plain = (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);"
        f"return JSON.stringify((function () {{ {script} }}).apply(null, arguments), plain);",
        *arguments,
    )
    return json.loads(text)
