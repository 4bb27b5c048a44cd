"""The learning curves: values at a pointer and by keys, and a closer look, on a run's page and on that of several."""

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

from pipeline.evaluate.table_reader import read_rows
from tests import browser
from tests.helpers import run_in_process


@pytest.fixture(scope="module")
def curves(digits_run, digits):
    return read_rows(digits_run, "learning_curve", digits.model.run.run_id).to_pylist()


@pytest.fixture(scope="module")
def comparison(driver, two_runs, tmp_path_factory):
    path = tmp_path_factory.mktemp("comparison") / "page.html"
    names = ("article-manual-seed1", "article-manual-seed2")
    done = run_in_process("report", "--workspace", two_runs, "--to", path, *names)
    assert done.code == 0, done.err
    return path


def plots(driver):
    return driver.find_elements(By.CSS_SELECTOR, "[data-curve] svg")


def said(driver):
    return [each.text for each in driver.find_elements(By.CSS_SELECTOR, ".curve-said")]


def expected(row):
    """Return what is said of a report, with the script's six digits; at step 0 there was no loss yet."""
    loss = f"loss {row['loss']:.6g}, " if row["step"] else ""
    return f"step {row['step']:,}: {loss}{100 * row['num_correct'] / row['num_monitored']:.6g} % right"


def tick_labels(driver):
    return [
        each.text for each in plots(driver)[0].find_elements(By.CSS_SELECTOR, "text[text-anchor=middle]:not(.label)")
    ]


def press_button(driver, name):
    button = next(each for each in driver.find_elements(By.CSS_SELECTOR, "#curve-controls button") if each.text == name)
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
    button.click()


def pointer_at(driver, plot, share):
    """Return actions that move the mouse to a share, 0 to 1, of the range of steps of a plot."""
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", plot)
    width = driver.execute_script("return arguments[0].getBoundingClientRect().width", plot)
    x = (58 + 368 * share) / 440 * width - width / 2
    return ActionChains(driver, 0).move_to_element_with_offset(plot, round(x), 0)


def test_the_pointer_shows_the_values_of_the_nearest_report(digits, curves, driver):
    browser.show(driver, digits.path)
    middle = curves[len(curves) // 2]
    pointer_at(driver, plots(driver)[0], middle["step"] / 10_000).perform()
    assert said(driver) == [expected(middle)]
    assert [len(plot.find_elements(By.CSS_SELECTOR, "circle[r='4.5']")) for plot in plots(driver)] == [1, 1]
    assert plots(driver)[1].get_attribute("aria-valuetext") == expected(middle)
    assert driver.get_log("browser") == []


def test_keys_go_through_the_reports_and_zoom(digits, curves, driver):
    browser.show(driver, digits.path)
    plot = plots(driver)[1]
    assert plot.get_attribute("role") == "slider"
    plot.send_keys(Keys.HOME)
    assert said(driver) == [expected(curves[0])]
    plot.send_keys(Keys.ARROW_RIGHT)
    assert said(driver) == [expected(curves[1])]
    plot.send_keys(Keys.END, Keys.ARROW_LEFT)
    assert said(driver) == [expected(curves[-2])]
    whole = tick_labels(driver)
    plot.send_keys("++")
    closer = [float(label.replace(",", "")) for label in tick_labels(driver)]
    assert closer[0] >= 7_500
    plot.send_keys(Keys.ESCAPE)
    assert tick_labels(driver) == whole
    assert driver.get_log("browser") == []


def test_a_drag_zooms_and_a_button_shows_the_whole_curve_again(digits, driver):
    browser.show(driver, digits.path)
    plot = plots(driver)[0]
    drawn = driver.execute_script("return document.querySelector('[data-curve] g').innerHTML")
    start = pointer_at(driver, plot, 0.2).click_and_hold()
    width = driver.execute_script("return arguments[0].getBoundingClientRect().width", plot)
    start.move_by_offset(round(0.2 * 368 / 440 * width), 0).release().perform()
    closer = [float(label.replace(",", "")) for label in tick_labels(driver)]
    assert 1_900 <= closer[0] < closer[-1] <= 4_100
    press_button(driver, "Whole curve")
    assert driver.execute_script("return document.querySelector('[data-curve] g').innerHTML").startswith(drawn)
    press_button(driver, "Closer")
    press_button(driver, "Wider")
    assert driver.execute_script("return document.querySelector('[data-curve] g').innerHTML").startswith(drawn)


def test_a_tap_shows_values_and_the_page_still_scrolls(digits, driver):
    browser.show(driver, digits.path, 390, 844)
    plot = plots(driver)[0]
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", plot)
    box = driver.execute_script("const b = arguments[0].getBoundingClientRect(); return [b.left, b.top, b.width]", plot)
    touch = [{"x": box[0] + box[2] / 2, "y": box[1] + 60}]
    for kind, points in (("touchStart", touch), ("touchEnd", [])):
        driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert said(driver)[0].startswith("step ")
    assert driver.execute_script("return getComputedStyle(arguments[0]).touchAction", plot) == "pan-y"


def test_the_legend_of_several_runs_has_the_values_of_each(comparison, driver):
    browser.show(driver, comparison)
    assert len(plots(driver)) == 2
    pointer_at(driver, plots(driver)[0], 0.5).perform()
    told = said(driver)
    assert len(told) == 2
    assert len(set(told)) == 2
    assert all(each.startswith("step ") and each.endswith(" % right") for each in told)
    assert driver.get_log("browser") == []
