"""The picture of the network, and the explanations of its numbers."""

from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

from tests import browser
from tests.browser import inspector, press


def point_at(driver, element, x, y):
    """Move the mouse to a point of an element, in pixels from its upper left corner."""
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    size = element.size
    ActionChains(driver, 0).move_to_element_with_offset(
        element, x - size["width"] / 2, y - size["height"] / 2
    ).perform()


def test_pointing_at_the_picture_explains_units_edges_and_pixels(model_page, driver):
    browser.show(driver, model_page.path)
    press(driver, "next")
    diagram = inspector(driver, "diagram")
    nodes, image = driver.execute_script(
        "const { nodes, image } = inspector.started.viewer.picture.view.placed; return [nodes, image];"
    )
    node = nodes[0][1]
    point_at(driver, diagram, node["x"], node["y"])
    assert inspector(driver, "explained").text.startswith("Unit 1 of layer 1\nz₁[1] = ")
    diagram.click()
    point_at(driver, diagram, image["x"] + 2, image["y"] + 2)
    assert inspector(driver, "explained").text.startswith("Pixel 0: row 0, column 0\na₀[0] = ")
    point_at(driver, diagram, (nodes[0][0]["x"] + nodes[1][0]["x"]) / 2, (nodes[0][0]["y"] + nodes[1][0]["y"]) / 2)
    assert inspector(driver, "explained").text.startswith("Edge w₂[")
    assert driver.get_log("browser") == []


def test_pointing_at_a_bar_a_row_or_a_cell_explains_its_number(digits, driver):
    browser.show(driver, digits.path)
    beginnings = {
        "Layer 1: the weighted input": "Unit 15 of layer 1\nz₁[15]",
        "The gradients of layer 2": "Edge w₂[5, 15]",
    }
    while inspector(driver, "next").is_enabled():
        press(driver, "next")
        expected = beginnings.get(inspector(driver, "title").text)
        if expected:
            canvas = inspector(driver, "pictures").find_element(By.TAG_NAME, "canvas")
            point_at(driver, canvas, canvas.size["width"] * 0.51, canvas.size["height"] * 0.51)
            assert inspector(driver, "explained").text.startswith(expected)
    rows = inspector(driver, "pictures").find_elements(By.CSS_SELECTOR, "tbody tr")
    point_at(driver, rows[3], 20, 8)
    assert inspector(driver, "explained").text.startswith("Output 3 of layer 2: class 3")


def test_pointing_moves_nothing_else(digits, driver):
    browser.show(driver, digits.path)
    top = "return document.getElementById('inspector-pictures').offsetTop"
    before = driver.execute_script(top)
    inspector(driver, "diagram").send_keys(Keys.ARROW_DOWN)
    assert inspector(driver, "explained").text.startswith("Unit 0 of layer 1")
    assert driver.execute_script(top) == before


def test_arrow_keys_go_through_the_units_and_enter_selects_one(digits, driver):
    browser.show(driver, digits.path)
    diagram = inspector(driver, "diagram")
    diagram.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.ENTER)
    assert inspector(driver, "explained").text.startswith("Unit 1 of layer 1")
    assert inspector(driver, "unit-name").text == "unit 1 of layer 1"


def test_the_picture_flows_only_if_the_user_does_not_wish_for_less_motion(digits, driver):
    flows = "return inspector.started.viewer.picture.view.frame !== null"
    for wish, expected in (("reduce", False), ("no-preference", True)):
        browser.show(driver, digits.path)
        browser.emulate_media(driver, "", {"prefers-reduced-motion": wish})
        press(driver, "next")
        assert driver.execute_script(flows) == expected


def test_the_inspector_begins_within_two_screens_of_a_phone(digits, driver):
    browser.show(driver, digits.path, 390, 844)
    bottom = driver.execute_script("return arguments[0].getBoundingClientRect().bottom", inspector(driver, "diagram"))
    assert bottom < 2 * 844
