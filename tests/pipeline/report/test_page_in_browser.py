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


def box_of(driver, name):
    box = (
        "const { top, bottom, left, right } = arguments[0].getBoundingClientRect(); return { top, bottom, left, right }"
    )
    return driver.execute_script(box, inspector(driver, name))


@pytest.mark.parametrize("size", [(1280, 900), (390, 844), (360, 740)])
def test_the_train_buttons_are_on_the_screen_but_not_on_the_diagram(size, digits, driver):
    browser.show(driver, digits.path, *size)
    driver.execute_script("document.documentElement.style.scrollBehavior = 'auto'")
    places = ["#inspector", "#inspector-stage", "#inspector-pictures", "#train-here", "#inspector-by-rate"]
    for place in places:
        driver.execute_script("document.querySelector(arguments[0]).scrollIntoView()", place)
        button = box_of(driver, "step")
        diagram = box_of(driver, "diagram")
        assert button["top"] >= diagram["bottom"] or button["bottom"] <= diagram["top"], place
        if place != "#inspector":
            assert button["top"] >= 0, place
            assert button["bottom"] <= size[1], place
    tops = [box_of(driver, name)["top"] for name in ("step", "ten", "train", "reset")]
    assert max(tops) - min(tops) < 1  # in one row
    heading = driver.execute_script(
        "document.querySelector('#train-here').scrollIntoView();"
        "return document.querySelector('#train-here').getBoundingClientRect().top"
    )
    assert heading > box_of(driver, "reset")["bottom"]


@pytest.mark.parametrize("size", [(1280, 900), (390, 844)])
def test_the_curve_of_the_function_is_beside_the_numbers_or_above_them(size, digits, driver):
    browser.show(driver, digits.path, *size)
    for stage in (3, 5, 7, 9):
        driver.execute_script("const { viewer } = inspector.started; viewer.go(arguments[0] - 1 - viewer.place)", stage)
        chart, numbers = driver.execute_script(
            "return ['.chart', ':scope > div']"
            ".map((part) => document.querySelector('#inspector-pictures .pair').querySelector(part))"
            ".map((each) => { const { top, bottom, left, right } = each.getBoundingClientRect();"
            " return { top, bottom, left, right }; })"
        )
        if size[0] > 1000:
            assert chart["left"] >= numbers["right"], stage
            assert chart["top"] < numbers["bottom"], stage
        else:
            assert chart["bottom"] <= numbers["top"], stage


def test_the_chosen_digit_is_seen_and_still_marked_as_wrong(digits, driver):
    browser.show(driver, digits.path, 390, 844)
    chosen = driver.find_element(By.CSS_SELECTOR, ".specimen:has(input:checked)")
    strip = box_of(driver, "test")
    box = driver.execute_script("return arguments[0].getBoundingClientRect().toJSON()", chosen)
    assert strip["left"] < box["left"]
    assert box["right"] < strip["right"]
    assert driver.execute_script("return scrollY") == 0
    frame = "const { borderColor, boxShadow } = getComputedStyle(arguments[0]); return [borderColor, boxShadow]"
    border, shadow = driver.execute_script(frame, chosen.find_element(By.TAG_NAME, "canvas"))
    assert border.startswith("rgba(226, 74, 51")
    assert shadow.startswith("rgb(31, 95, 214)")


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
