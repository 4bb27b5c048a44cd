"""The page on a phone, in dark mode and on paper; and the Content-Security-Policy in effect."""

import json

import pytest
from selenium.webdriver.common.by import By

from tests import browser
from tests.browser import inspector


def is_wider_than_the_screen(driver):
    return driver.execute_script(
        "return document.documentElement.scrollWidth > document.documentElement.clientWidth || innerWidth > 360"
    )


def test_the_page_fits_the_width_of_a_phone(model_page, driver):
    browser.show(driver, model_page.path, 360, 740)
    driver.execute_script("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    assert not is_wider_than_the_screen(driver)
    while inspector(driver, "next").is_enabled():
        driver.execute_script("arguments[0].click()", inspector(driver, "next"))
        assert not is_wider_than_the_screen(driver), inspector(driver, "title").text


def luminance(driver, element, name):
    found = driver.execute_script(f"return getComputedStyle(document.querySelector(arguments[0])).{name}", element)
    red, green, blue = (int(part) for part in found.removeprefix("rgb(").removesuffix(")").split(","))
    parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (red / 255, green / 255, blue / 255)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast_in_light_and_dark_mode(dark, digits, driver):
    browser.show(driver, digits.path, dark=dark)
    paper = luminance(driver, "body", "backgroundColor")
    assert (paper < 0.05) == dark
    for element in ("body", ".over", "nav a", "thead th", ".small", "dt"):
        ink = luminance(driver, element, "color")
        lighter = max(ink, paper)
        darker = min(ink, paper)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, element


def test_the_printed_page_is_light_and_fits_the_paper(digits, driver):
    browser.show(driver, digits.path, 700, 1000, dark=True)
    browser.emulate_media(driver, "print", {"prefers-color-scheme": "dark"})
    assert luminance(driver, "body", "backgroundColor") == 1
    assert not driver.find_element(By.CSS_SELECTOR, ".interactive").is_displayed()
    assert driver.find_element(By.CSS_SELECTOR, ".printed").is_displayed()
    widest = driver.execute_script(
        "const shown = [...document.querySelectorAll('svg, table, img')];"
        "return Math.max(...shown.map((each) => each.getBoundingClientRect().right));"
    )
    assert widest <= 700
    data = browser.print_page(driver)
    assert data.startswith(b"%PDF")
    assert 4 <= data.count(b"/Type /Page\n") <= 12


def test_no_other_script_runs_and_nothing_else_is_fetched(tall, driver):
    driver.get_log("performance")
    browser.show(driver, tall.path)
    driver.execute_script("for (const stage of inspector.started.viewer.stages) inspector.started.viewer.go(1)")
    elements = driver.execute_script("return [document.scripts.length, document.querySelectorAll('img[src=x]').length]")
    assert elements == [2, 0]
    assert driver.get_log("browser") == []  # an alert raises an error here
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith("data:image/png")] == [tall.path.as_uri()]


def test_the_policy_blocks_injected_scripts_styles_and_requests(digits, driver):
    browser.show(driver, digits.path)
    driver.execute_script(
        "const script = document.createElement('script'); script.textContent = 'window.injected = 1';"
        "document.body.append(script);"
        'const html = \'<img src=x onerror="window.injected = 2"><p style="color:red">\';'
        "document.body.insertAdjacentHTML('beforeend', html);"
        "window.fetched = fetch('data:text/plain,x').then(() => 'fetched', () => 'refused');"
    )
    assert driver.execute_async_script("window.fetched.then(arguments[0])") == "refused"
    assert driver.execute_script("return window.injected") is None
    assert all("Content Security Policy" in entry["message"] for entry in driver.get_log("browser"))
