"""The back-propagation inspector, used by keyboard, buttons, mouse and touch."""

import re
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from model import gradients
from pipeline.sources.image_decoding import Picture
from pipeline.sources.picture_conversion import prepare_picture
from tests import browser
from tests.browser import inspector, press, values_in
from tests.pages import read_page

WAIT = 20  # seconds at most


def test_arrow_keys_step_through_every_stage(model_page, driver):
    page, model = model_page
    browser.show(driver, page)
    depth = len(model.run.config.layers) - 1
    num_stages = 1 + 2 * depth + 2 + (2 * depth - 1) + 1
    stage = inspector(driver, "stage")
    titles = []
    driver.execute_script("arguments[0].focus()", stage)
    for number in range(1, num_stages + 1):
        assert inspector(driver, "count").text == f"stage {number} of {num_stages}"
        assert inspector(driver, "said").text
        assert inspector(driver, "said").get_attribute("aria-live") == "polite"
        [shown] = driver.find_elements(By.CSS_SELECTOR, "#inspector-steps > li:not([hidden])")
        equations = shown.find_elements(By.TAG_NAME, "math")
        assert equations
        assert all(each.size["height"] < 60 for each in equations)  # on one line, as an equation is
        assert inspector(driver, "pictures").find_elements(By.TAG_NAME, "figure")
        assert inspector(driver, "lines").text.startswith("in the article's names")
        titles.append(inspector(driver, "title").text)
        driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert inspector(driver, "count").text == f"stage {num_stages} of {num_stages}"  # the last key changed nothing
    assert len(set(titles)) == num_stages
    assert (titles[0], titles[-1]) == ("The input", "One step down")
    losses = "const { pass, after } = inspector.started.viewer.shown; return [pass.loss, after.loss]"
    shown = driver.execute_script("return arguments[0].map(pictures.written)", driver.execute_script(losses))
    assert f"goes from {shown[0]} to {shown[1]}, with twice" in inspector(driver, "said").text
    assert "most wrong" in inspector(driver, "said").text
    driver.switch_to.active_element.send_keys(Keys.HOME)
    assert inspector(driver, "count").text.startswith("stage 1 ")
    outline = driver.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    assert driver.get_log("browser") == []


def test_arrow_keys_select_examples(digits, driver):
    browser.show(driver, digits.path)
    radios = driver.find_elements(By.CSS_SELECTOR, "#inspector-specimens input")
    assert len(radios) > 200
    chosen = next(number for number, radio in enumerate(radios) if radio.is_selected())
    assert "answered so" not in radios[chosen].get_attribute("aria-label")  # the first one is a mistake
    radios[chosen].send_keys(Keys.ARROW_RIGHT)
    assert radios[chosen + 1].is_selected()
    assert inspector(driver, "said").text.startswith(radios[chosen + 1].get_attribute("aria-label"))


def test_the_answer_of_the_shown_network_stands_beside_that_of_the_trained_one(digits, driver):
    browser.show(driver, digits.path)
    radios = driver.find_elements(By.CSS_SELECTOR, "#inspector-test input")
    titles = [radio.get_attribute("aria-label") for radio in radios[:3]]
    answered = re.compile(r"now answers (\d)\.")
    found = []
    for origin in ("start", "trained"):
        Select(inspector(driver, "origin")).select_by_value(origin)
        for radio in radios[:3]:
            driver.execute_script("arguments[0].click()", radio)
            found.append(answered.search(inspector(driver, "said").text)[1])
    for title, trained in zip(titles, found[3:], strict=True):
        assert f"an example of {trained}, answered so by" in title or f"answered {trained} by the trained" in title
    assert found[:3] != found[3:]


def test_buttons_step_and_play(digits, driver):
    browser.show(driver, digits.path)
    play = inspector(driver, "play")
    assert not inspector(driver, "back").is_enabled()
    press(driver, "next")
    assert inspector(driver, "count").text == "stage 2 of 11"
    press(driver, "back")
    assert inspector(driver, "count").text == "stage 1 of 11"
    press(driver, "play")
    assert (play.text, play.get_attribute("aria-pressed")) == ("Pause", "true")
    WebDriverWait(driver, WAIT).until(lambda _: inspector(driver, "count").text == "stage 2 of 11")
    press(driver, "play")
    assert (play.text, play.get_attribute("aria-pressed")) == ("Play", "false")


def drawn_picture(driver, page):
    """Return the drawing as prepared by the page and by `backbeam predict`."""
    _, model = page
    pad = values_in(driver, "return drawing.readCanvas(document.getElementById('inspector-pad'));")
    grey = np.array(pad["values"], np.uint8).reshape(pad["height"], pad["width"])
    picture = Picture(grey, np.full_like(grey, 255))
    manifest = model.manifest
    expected = prepare_picture(picture, manifest.height, manifest.width, "drawing", manifest.style).image
    found = values_in(
        driver,
        "const pad = drawing.readCanvas(document.getElementById('inspector-pad'));"
        "return drawing.prepare(pad, arguments[0], arguments[1], arguments[2]);",
        manifest.height,
        manifest.width,
        manifest.style.model_dump(),
    )
    return np.array(found).reshape(expected.shape), expected.astype(int)


def test_a_digit_drawn_by_mouse_is_classified(model_page, driver):
    browser.show(driver, model_page.path)
    pad = inspector(driver, "pad")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", pad)
    stroke = ActionChains(driver, 20).move_to_element_with_offset(pad, -25, -35).click_and_hold()
    for step in ((50, 0), (-20, 30), (-10, 40)):
        stroke.move_by_offset(*step)
    stroke.release().perform()
    found, expected = drawn_picture(driver, model_page)
    assert np.abs(found - expected).max() <= 1
    assert expected.max() == 255
    assert inspector(driver, "drawn").text.startswith("The trained network answers ")
    Select(inspector(driver, "target")).select_by_index(2)
    name = model_page.model.manifest.class_names[2]
    assert inspector(driver, "said").text.startswith(" ".join(f"Your drawing, meant to be {name}.".split()))
    assert driver.find_elements(By.CSS_SELECTOR, "#inspector-specimens input:checked") == []
    assert inspector(driver, "prepared").find_elements(By.TAG_NAME, "canvas")
    press(driver, "add")
    batch = "const { panel } = inspector.started; return panel.trainer.nextBatch(1)[0].target;"
    assert driver.execute_script(batch) == 2
    assert not inspector(driver, "add").is_enabled()
    press(driver, "step")
    press(driver, "clear")
    assert inspector(driver, "drawn").text == ""
    assert inspector(driver, "prepared").find_elements(By.TAG_NAME, "canvas") == []


def test_a_digit_drawn_by_touch_is_classified_without_scrolling(digits, driver):
    browser.show(driver, digits.path, 360, 740)
    pad = inspector(driver, "pad")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", pad)
    box = driver.execute_script("const b = arguments[0].getBoundingClientRect(); return [b.left, b.top]", pad)
    points = [{"x": box[0] + 60, "y": box[1] + 30 + step} for step in range(0, 100, 20)]
    for kind, touches in (("touchStart", points[:1]), *(("touchMove", [p]) for p in points), ("touchEnd", [])):
        driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
    found, expected = drawn_picture(driver, digits)
    assert np.abs(found - expected).max() <= 1
    assert inspector(driver, "drawn").text.startswith("The trained network answers ")
    assert driver.execute_script("return arguments[0].getBoundingClientRect().top", pad) == pytest.approx(box[1], abs=1)


def test_every_quoted_line_of_code_is_one_of_the_model(model_page):
    lines = [each["text"] for each in read_page(model_page.path).all("code") if each.get("class") == "quoted"]
    code = " ".join(path.read_text() for path in Path(gradients.__file__).parent.glob("*.py"))
    assert len(lines) > 10
    assert [line for line in lines if line not in " ".join(code.split())] == []


def test_the_address_keeps_the_state_and_opens_it_again(digits, driver):
    browser.show(driver, digits.path)
    Select(inspector(driver, "rule")).select_by_value("autodiff")
    press(driver, "ten")
    inspector(driver, "batch_size").send_keys(Keys.ARROW_LEFT)
    press(driver, "step")
    for _ in range(6):
        press(driver, "next")
    address = driver.current_url
    shown = [inspector(driver, name).text for name in ("trained", "count", "said")]
    assert address.partition("&")[2] == "stage=7&train=10x10x5x0.5xautodiff,1x9x5x0.5xautodiff"
    driver.get("about:blank")
    driver.get(address)
    assert [inspector(driver, name).text for name in ("trained", "count", "said")] == shown
    assert inspector(driver, "batch_size").get_attribute("value") == "9"
    top = driver.execute_script("return document.getElementById('inspector').getBoundingClientRect().top")
    assert abs(top) < 2
    assert driver.get_log("browser") == []


@pytest.mark.parametrize("figure", ["#mistakes li", "#confusion td.wrong", "#calibration svg", "#calibration tbody th"])
def test_figures_of_the_page_open_an_example(figure, digits, driver):
    browser.show(driver, digits.path)
    driver.execute_script("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    link = driver.find_element(By.CSS_SELECTOR, f"{figure} a")
    name = link.get_dom_attribute("href").removeprefix("#example=")
    driver.execute_script(
        "arguments[0].dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true }))", link
    )
    WebDriverWait(driver, WAIT).until(lambda _: inspector(driver, "said").text.startswith(f"{name}, an example of"))


def test_arrow_keys_work_without_focus_while_the_stage_is_seen(digits, driver):
    browser.show(driver, digits.path)
    body = driver.find_element(By.TAG_NAME, "body")
    driver.execute_script("document.getElementById('inspector-stage').scrollIntoView({behavior: 'instant'})")
    body.send_keys(Keys.ARROW_RIGHT)
    assert inspector(driver, "count").text == "stage 2 of 11"
    driver.execute_script("document.getElementById('origin').scrollIntoView({behavior: 'instant'})")
    body.send_keys(Keys.ARROW_RIGHT)
    assert inspector(driver, "count").text == "stage 2 of 11"


def test_what_the_steps_of_the_page_leave_out_of_the_run_is_noted(digits, tall):
    plain, modern = (page.path.read_text("utf-8") for page in (digits, tall))
    assert "It computes as the run did, with twice as many digits." in plain
    assert "It computes as the run did, but for what is noted below, with twice as many digits." in modern
    for noted in ("(dropout)", "(momentum)", "followed a schedule (cosine)"):
        assert noted not in plain
        assert noted in modern
