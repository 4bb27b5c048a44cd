"""Training on the page, and the panels of its gradients."""

import re
from pathlib import Path

import pytest
from selenium.webdriver import Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from pipeline.train.early_parameters import decode_early
from tests import browser
from tests.browser import inspector, press, values_in

WAIT = 20  # seconds at most


def read_learn():
    """Return docs/learn.md, its lines joined where they are wrapped."""
    text = (Path(__file__).parents[3] / "docs" / "learn.md").read_text()
    return re.sub(r"(?<=[^|\n])\n(?=[^|\n])", " ", text)


def open_panel(driver, name):
    driver.execute_script("arguments[0].scrollIntoView({behavior: 'instant'})", inspector(driver, name))
    inspector(driver, name).find_element(By.TAG_NAME, "summary").click()


def step_counted(driver):
    found = re.search(r"\+ ([\d,]+) step", inspector(driver, "trained").text)
    return int(found[1].replace(",", "")) if found else 0


def test_training_steps_by_buttons_and_lowers_the_loss(digits, driver):
    browser.show(driver, digits.path)
    losses = (
        "const { model } = inspector.started;"
        "return training.evaluate(model.config, model.layers, model.examples.train).loss;"
    )
    before = driver.execute_script(losses)
    press(driver, "step")
    assert step_counted(driver) == 1
    press(driver, "ten")
    assert step_counted(driver) == 11
    assert driver.execute_script(losses) < before
    press(driver, "train")
    assert inspector(driver, "train").get_attribute("aria-pressed") == "true"
    WebDriverWait(driver, WAIT).until(lambda _: step_counted(driver) > 20)
    press(driver, "train")
    count = step_counted(driver)
    press(driver, "reset")
    assert step_counted(driver) == 0
    assert driver.execute_script(losses) == before
    assert count > 20
    Select(inspector(driver, "origin")).select_by_value("trained")
    assert driver.execute_script(losses) < before
    assert driver.get_log("browser") == []


def test_training_starts_from_a_stored_step_of_the_run(digits, driver):
    page, model = digits
    file = model.run.early_parameters
    early = decode_early(file.read(model.folder), model.folder / file.name, model.run.config)
    browser.show(driver, page)
    origin = Select(inspector(driver, "origin"))
    assert [option.text for option in origin.options] == [
        *("the run's start, step 0", "step 100 of the run", "step 1,000 of the run", "the trained network")
    ]
    losses = []
    names = []
    for name in ("start", "100", "1000", "trained"):
        Select(inspector(driver, "origin")).select_by_value(name)
        found = values_in(
            driver,
            "const { model } = inspector.started;"
            "const { loss } = training.evaluate(model.config, model.layers, model.examples.train);"
            "return { loss, layers: model.layers };",
        )
        losses.append(found["loss"])
        for layer, expected in zip(found["layers"], early.get(int(name) if name.isdigit() else 0, ()), strict=False):
            assert layer["weights"] == expected.weights.ravel().tolist()
            assert layer["biases"] == expected.biases.tolist()
        names.append(inspector(driver, "trained").text.partition(":")[0])
    assert losses == sorted(losses, reverse=True)
    assert names == [
        *("Now, the untrained network", "Now, the network of the run's step 100"),
        *("Now, the network of the run's step 1,000", "Now, the trained network"),
    ]
    Select(inspector(driver, "origin")).select_by_value("100")
    press(driver, "ten")
    assert inspector(driver, "brief").text.startswith("the network of the run's step 100 + 10 steps: train loss ")
    assert "&from=100&train=10x10x5x0.5xmanual" in driver.current_url
    address = driver.current_url
    shown = inspector(driver, "trained").text
    driver.get("about:blank")
    driver.get(address)
    assert inspector(driver, "origin").get_attribute("value") == "100"
    assert inspector(driver, "trained").text == shown
    driver.get("about:blank")
    driver.get(address.replace("from=100", "from=7"))  # no such step: the choice stays as it is
    assert inspector(driver, "origin").get_attribute("value") == "start"
    assert driver.get_log("browser") == []


def test_the_stages_follow_the_training_and_its_rates(digits, driver):
    browser.show(driver, digits.path)
    inspector(driver, "stage").send_keys(Keys.END)
    first = inspector(driver, "said").text
    assert "With rates of 5.000 for weights and 0.5000 for biases" in first
    inspector(driver, "weights_rate").send_keys(Keys.ARROW_RIGHT)
    assert "With rates of 10.00 for weights" in inspector(driver, "said").text
    assert inspector(driver, "weights_rate").get_attribute("aria-valuetext") == "10.00"
    press(driver, "step")
    assert inspector(driver, "said").text.split("goes from")[1] != first.split("goes from")[1]
    assert inspector(driver, "count").text == "stage 11 of 11"


def test_the_manual_rule_stands_beside_autodiff_and_beside_a_difference(model_page, driver):
    browser.show(driver, model_page.path)
    open_panel(driver, "check")
    WebDriverWait(driver, WAIT).until(lambda _: "∇" in inspector(driver, "agreement-said").text)
    differences = re.findall(r"([-\d.e]+) in ∇[wb]", inspector(driver, "agreement-said").text)
    assert len(differences) == 2 * (len(model_page.model.run.config.layers) - 1)
    assert max(map(float, differences)) < 1e-15
    rows = [row.text.split() for row in inspector(driver, "agreement").find_elements(By.CSS_SELECTOR, "tbody tr")]
    for *_, manual, autodiff, _ in rows:
        assert float(manual) == pytest.approx(float(autodiff), rel=1e-9)
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
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
    button.click()
    assert f"With {name} moved" in inspector(driver, "difference").text
    assert driver.get_log("browser") == []


def test_the_gradients_of_a_batch_have_the_mean_that_the_step_follows(model_page, driver):
    browser.show(driver, model_page.path)
    open_panel(driver, "unit")
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


def test_an_error_stands_beside_its_factors(digits, driver):
    browser.show(driver, digits.path)
    inspector(driver, "stage").send_keys(Keys.HOME, *[Keys.ARROW_RIGHT] * 6)
    assert inspector(driver, "title").text == "Back to z₂: the error of the output layer"
    rows = inspector(driver, "pictures").find_elements(By.CSS_SELECTOR, "tbody tr")
    numbers = [[float(cell.text) for cell in row.find_elements(By.TAG_NAME, "td")[::2]] for row in rows]
    for difference, slope, error in numbers:
        assert difference * slope == pytest.approx(error, rel=5e-3)
    widest = max(numbers, key=lambda row: abs(row[0]))
    said = inspector(driver, "said").text
    factors = re.search(r"largest ∇a₂ in size, (\S+), and a slope of (\S+)\. .* = (\S+)\. Output 5", said)
    assert [float(number) for number in factors.groups()] == widest
    assert (
        "wrong by {:.4f} and whose error is {:.6f}, as its slope is {:.6f}".format(*widest[::2], widest[1])
        in read_learn()
    )
    assert inspector(driver, "pictures").find_elements(By.CSS_SELECTOR, ".chart circle")


def losses_said(driver):
    """Return what is said of the next examples' loss: now, after a step and after one with twice the rates."""
    return re.search(
        r"from (\S+) to (\S+), with twice the rates to (\S+)\. ", inspector(driver, "rate-said").text
    ).groups()


def test_the_chart_by_the_rate_says_what_the_next_step_does(model_page, driver):
    browser.show(driver, model_page.path)
    press(driver, "ten")
    driver.execute_script("window.batch = inspector.started.panel.trainer.nextBatch(10)")
    now, after, twice = losses_said(driver)
    losses = (
        "const { model } = inspector.started;"
        "return pictures.written(training.evaluate(model.config, model.layers, window.batch).loss);"
    )
    assert driver.execute_script(losses) == now
    press(driver, "step")
    assert driver.execute_script(losses) == after
    assert twice != after


def test_training_goes_on_to_where_twice_the_rates_go_too_far(model_page, driver):
    browser.show(driver, model_page.path)
    press(driver, "far")
    WebDriverWait(driver, WAIT).until(lambda _: inspector(driver, "train").text == "Train")
    assert step_counted(driver) > 0
    if model_page.model.run.config.recipe == "article-manual":
        assert f"with the default recipe that is step {step_counted(driver)}." in read_learn()
    _, after, twice = map(float, losses_said(driver))
    assert twice > after
    stopped = step_counted(driver)
    press(driver, "far")
    WebDriverWait(driver, WAIT).until(lambda _: inspector(driver, "train").text == "Train")
    assert step_counted(driver) == stopped
    assert inspector(driver, "far-said").text == "Here twice the rates go too far."
    press(driver, "train")  # trains on, without an end of its own
    count = step_counted(driver)
    WebDriverWait(driver, WAIT).until(lambda _: step_counted(driver) > count + 20)
    press(driver, "train")
    assert driver.get_log("browser") == []


def test_rates_between_two_places_of_the_sliders_are_said_as_they_are(digits, driver):
    browser.show(driver, digits.path)
    driver.execute_script("location.hash = '#example=test:6&stage=11&train=1x10x7x0.5xmanual'")
    WebDriverWait(driver, WAIT).until(lambda _: step_counted(driver) == 1)
    assert "With rates of 7.000 for weights" in inspector(driver, "said").text
    assert inspector(driver, "weights_rate").get_attribute("aria-valuetext") == "7.000"


def test_a_loss_that_is_no_number_is_explained_and_ends_the_training(tall, driver):
    browser.show(driver, tall.path)
    assert not inspector(driver, "diverged").is_displayed()
    driver.execute_script(
        "const { model, panel } = inspector.started;"
        "panel.trainer.layers = model.layers.map((each) => ({ ...each, biases: each.biases.map(() => NaN) }));"
        "panel.step(1);"
    )
    assert inspector(driver, "diverged").is_displayed()
    assert not inspector(driver, "saturated").is_displayed()
    press(driver, "far")
    WebDriverWait(driver, WAIT).until(lambda _: inspector(driver, "train").text == "Train")
    assert step_counted(driver) == 1
    assert inspector(driver, "far-said").text == "The loss is no longer a number."
    press(driver, "reset")
    assert not inspector(driver, "diverged").is_displayed()
    assert driver.get_log("browser") == []


def test_a_training_that_stands_still_is_explained(digits, driver):
    browser.show(driver, digits.path)
    assert not inspector(driver, "saturated").is_displayed()
    driver.execute_script(f"location.hash = {rows_to_try()[-1][0]!r}")
    WebDriverWait(driver, WAIT).until(lambda _: step_counted(driver) == 300)
    note = inspector(driver, "saturated")
    assert "of ∇a less than 1 % gets through to ∇z" in note.text
    press(driver, "back")
    note.find_element(By.TAG_NAME, "button").click()
    assert inspector(driver, "count").text == "stage 7 of 11"
    assert inspector(driver, "title").text == "Back to z₂: the error of the output layer"
    assert "almost 0" in inspector(driver, "pictures").text  # and not such as 1.53e-223
    assert driver.get_log("browser") == []


def test_the_lines_before_a_reset_stay(digits, driver):
    browser.show(driver, digits.path)
    earlier = "return document.querySelectorAll('#inspector-charts .line.before').length"
    press(driver, "ten")
    assert driver.execute_script(earlier) == 0
    press(driver, "reset")
    assert driver.execute_script(earlier) == 4  # of train and test examples, in two charts
    colours = "return [...document.querySelectorAll('.line.before')].map((each) => getComputedStyle(each).stroke)"
    assert len(set(driver.execute_script(colours))) == 2
    assert driver.get_log("browser") == []


def rows_to_try():
    return re.findall(r"^\| `(#example=\S+)` \| (\S+) and (\d+):", read_learn(), re.MULTILINE)


@pytest.mark.parametrize(("fragment", "loss", "num_right"), rows_to_try())
@pytest.mark.thorough
def test_the_addresses_to_try_give_the_documented_figures(fragment, loss, num_right, digits, driver):
    browser.show(driver, digits.path)
    driver.get("about:blank")
    driver.get(digits.path.as_uri() + fragment)
    told = inspector(driver, "trained").text
    assert f"{num_right} of 100 train examples are right, their mean loss is {loss};" in told


def test_an_output_that_is_surely_wrong_has_hardly_an_error(digits, driver):
    browser.show(driver, digits.path)
    driver.execute_script(f"location.hash = {rows_to_try()[-1][0]!r}")
    WebDriverWait(driver, WAIT).until(lambda _: step_counted(driver) == 300)
    difference, delta = driver.execute_script(
        "const { example, shown } = inspector.started.viewer;"
        "return [shown.pass.difference[example.target], shown.pass.delta[2][example.target]];"
    )
    assert difference == pytest.approx(-1, abs=1e-3)
    assert abs(delta) < 1e-3
