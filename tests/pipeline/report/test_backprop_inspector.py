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
from tests.browser import inspector, values_in

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
        assert inspector(driver, "equation").find_elements(By.TAG_NAME, "math")
        assert inspector(driver, "pictures").find_elements(By.TAG_NAME, "figure")
        titles.append(inspector(driver, "title").text)
        driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert inspector(driver, "count").text == f"stage {num_stages} of {num_stages}"  # the last key changed nothing
    assert len(set(titles)) == num_stages
    assert (titles[0], titles[-1]) == ("The input", "One step down")
    before, after = driver.execute_script("return inspector.started.viewer.state.stages.at(-1).losses")
    shown = driver.execute_script("return arguments[0].map(pictures.written)", [before, after])
    assert f"goes from {shown[0]} to {shown[1]}." in inspector(driver, "said").text
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


def test_buttons_step_and_play(digits, driver):
    browser.show(driver, digits.path)
    back, forth, play = (inspector(driver, name) for name in ("back", "next", "play"))
    assert not back.is_enabled()
    forth.click()
    assert inspector(driver, "count").text == "stage 2 of 11"
    back.click()
    assert inspector(driver, "count").text == "stage 1 of 11"
    play.click()
    assert (play.text, play.get_attribute("aria-pressed")) == ("Pause", "true")
    WebDriverWait(driver, WAIT).until(lambda _: inspector(driver, "count").text == "stage 2 of 11")
    play.click()
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
    inspector(driver, "clear").click()
    assert inspector(driver, "drawn").text == ""


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


def step_counted(driver):
    return int(inspector(driver, "trained").text.removeprefix("Step ").partition(":")[0].replace(",", ""))


def test_training_steps_by_buttons_and_lowers_the_loss(digits, driver):
    browser.show(driver, digits.path)
    losses = (
        "const { model } = inspector.started;"
        "return training.evaluate(model.config, model.layers, model.examples.train).loss;"
    )
    before = driver.execute_script(losses)
    inspector(driver, "step").click()
    assert step_counted(driver) == 1
    inspector(driver, "ten").click()
    assert step_counted(driver) == 11
    assert driver.execute_script(losses) < before
    inspector(driver, "train").click()
    assert inspector(driver, "train").get_attribute("aria-pressed") == "true"
    WebDriverWait(driver, WAIT).until(lambda _: step_counted(driver) > 20)
    inspector(driver, "train").click()
    count = step_counted(driver)
    inspector(driver, "reset").click()
    assert step_counted(driver) == 0
    assert driver.execute_script(losses) == before
    assert count > 20
    Select(inspector(driver, "origin")).select_by_value("trained")
    assert driver.execute_script(losses) < before
    assert driver.get_log("browser") == []


def test_the_stages_follow_the_training_and_its_rates(digits, driver):
    browser.show(driver, digits.path)
    inspector(driver, "stage").send_keys(Keys.END)
    first = inspector(driver, "said").text
    assert "With rates of 5.000 for weights and 0.5000 for biases" in first
    inspector(driver, "weights_rate").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert "With rates of 10.00 for weights" in inspector(driver, "said").text
    assert inspector(driver, "weights_rate").get_attribute("aria-valuetext") == "10.00"
    inspector(driver, "step").click()
    assert inspector(driver, "said").text.split("goes from")[1] != first.split("goes from")[1]
    assert inspector(driver, "count").text == "stage 11 of 11"


def test_every_quoted_line_of_code_is_one_of_the_model(model_page, driver):
    browser.show(driver, model_page.path)
    quoted = driver.execute_script("return inspector.started.viewer.state.stages.map((stage) => stage.code)")
    code = " ".join(path.read_text() for path in Path(gradients.__file__).parent.glob("*.py"))
    assert [line for line in quoted if line not in " ".join(code.split())] == []


def test_the_manual_rule_stands_beside_autodiff_and_beside_a_difference(model_page, driver):
    browser.show(driver, model_page.path)
    inspector(driver, "check").find_element(By.TAG_NAME, "summary").click()
    differences = re.findall(r"([-\d.e]+) in ∇[wb]", inspector(driver, "agreement-said").text)
    assert len(differences) == 2 * (len(model_page.model.run.config.layers) - 1)
    assert max(map(float, differences)) < 1e-15
    rows = [row.text.split() for row in inspector(driver, "agreement").find_elements(By.CSS_SELECTOR, "tbody tr")]
    for *_, manual, autodiff, _ in rows:
        assert float(manual) == pytest.approx(float(autodiff), abs=1e-15)
    errors = {}
    for key in (Keys.END, Keys.HOME):  # from the largest to the smallest epsilon
        inspector(driver, "epsilon").send_keys(key)
        shown = inspector(driver, "epsilon-value").text
        errors[shown] = float(inspector(driver, "difference").text.split("differ by ")[1].rstrip("."))
        inspector(driver, "epsilon").send_keys(*[Keys.ARROW_RIGHT] * 14)
        errors[inspector(driver, "epsilon-value").text] = float(
            inspector(driver, "difference").text.split("differ by ")[1].rstrip(".")
        )
    assert errors["1.0e-5"] < 1e-8
    assert errors["1.0e-12"] > errors["1.0e-5"]  # rounding wins
    button = inspector(driver, "agreement").find_elements(By.CSS_SELECTOR, "tbody button")[1]
    name = button.text
    button.click()
    assert f"With {name} moved" in inspector(driver, "difference").text
    assert driver.get_log("browser") == []


def test_the_gradients_of_a_batch_have_the_mean_that_the_step_follows(model_page, driver):
    browser.show(driver, model_page.path)
    inspector(driver, "unit").find_element(By.TAG_NAME, "summary").click()
    driver.execute_script("inspector.started.unit.select(1, 3)")
    assert inspector(driver, "unit-name").text == "unit 3 of layer 1"
    size = int(inspector(driver, "batch_size").get_attribute("value"))
    assert len(inspector(driver, "unit-gradients").find_elements(By.CSS_SELECTOR, ".row > div")) == size
    assert f"the {size} gradients add up to" in inspector(driver, "unit-rule").text
    total, mean, moved = re.search(
        r"add up to (\S+), and their mean is (\S+)\. .* the sum, here (\S+),", inspector(driver, "unit-rule").text
    ).groups()
    assert float(total) == pytest.approx(size * float(mean), rel=1e-2)
    assert float(moved) == pytest.approx(0.5 * float(total), rel=1e-2)
    assert inspector(driver, "unit-firing").find_elements(By.TAG_NAME, "canvas")
    Select(inspector(driver, "unit-layer")).select_by_index(1)
    assert inspector(driver, "unit-name").text == "unit 0 of layer 2"
    assert driver.get_log("browser") == []
