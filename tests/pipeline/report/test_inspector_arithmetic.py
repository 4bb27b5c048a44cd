"""The scripts of the page compute the same as the manual gradients and as the image preparation of `predict`."""

import numpy as np
import pytest
import tensorflow as tf

from model.checkpoint import decode_parameters
from model.gradients import STEPS, manual
from model.network import STARTS, Layer, build_network, forward, initialise
from model.recipes import find_recipe
from model.training import State, descend, network_of
from pipeline.report.backprop_inspector import describe_start
from pipeline.sources.image_decoding import Picture
from pipeline.sources.picture_conversion import apply_style, prepare_picture
from pipeline.sources.picture_resizing import resize_image
from pipeline.sources.picture_style import PictureStyle
from tests import browser
from tests.browser import values_in


def is_close(found, expected):
    expected = np.asarray(expected)
    found = np.asarray(found, np.float64).reshape(expected.shape)
    return np.abs(found - expected).max() <= 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize("position", [0, 1, -1])
def test_a_step_of_the_page_equals_one_by_manual_gradients(position, model_page, driver):
    page, model = model_page
    browser.show(driver, page)
    found = values_in(
        driver,
        "const { model } = inspector.started; const { x, y, pixels, target } = model.examples.test.at(arguments[0]);"
        "const pass = network.propagate(model.functions, model.trained, { x, y });"
        "const after = network.descend(model.config, model.trained, pass.gradients);"
        "return { ...pass, after, pixels, target,"
        "         lossAfter: network.propagate(model.functions, after, { x, y }).loss };",
        position,
    )
    parameters = tuple(
        Layer(*(tf.constant(part, tf.float64) for part in layer))
        for layer in decode_parameters(model.run.parameters.read(model.folder))
    )
    config = model.run.config
    network = network_of(config)
    x = tf.constant([found["pixels"]], tf.float64) / 255
    y = tf.one_hot([found["target"]], config.layers[-1], dtype=tf.float64)
    values, z = forward(network, parameters, x)
    assert all(is_close(a, value[0]) for a, value in zip(found["a"][:-1], values, strict=True))
    assert is_close(found["z"][-1], z[0])
    assert is_close(found["a"][-1], network.output.value(z)[0])
    expected = manual(network, parameters, x, y)
    assert is_close(found["loss"], expected.loss)
    for number, layer in enumerate(expected.layers, 1):
        assert is_close(found["gradients"][number - 1]["weights"], layer.weights)
        assert is_close(found["gradients"][number - 1]["biases"], layer.biases)
        assert is_close(found["delta"][number], layer.biases)
    velocity = tf.nest.map_structure(tf.zeros_like, parameters)
    state = descend(config, State(tf.constant(0), tf.constant(1), parameters, velocity), expected.layers, 1.0)
    for layer, stepped in zip(found["after"], state.parameters, strict=True):
        assert is_close(layer["weights"], stepped.weights)
        assert is_close(layer["biases"], stepped.biases)
    assert is_close(found["lossAfter"], manual(network, state.parameters, x, y).loss)


@pytest.mark.parametrize("rule", ["manual", "autodiff"])
def test_twenty_steps_of_the_page_equal_those_of_the_model(rule, model_page, driver):
    page, model = model_page
    browser.show(driver, page)
    found = values_in(
        driver,
        "const { model } = inspector.started; const { config, start: begun, examples } = model;"
        "const trainer = training.makeTrainer(config, begun, examples.train);"
        "const settings = { rule: arguments[0], batch_size: 7, weights_rate: 0.4, biases_rate: 0.3 };"
        "const batches = [], losses = [];"
        "for (let step = 0; step < 20; step++) {"
        "  batches.push(trainer.nextBatch(7).map(({ pixels, target }) => ({ pixels, target })));"
        "  losses.push(trainer.step(settings));"
        "}"
        "return { batches, losses, begun, after: trainer.layers, numSteps: trainer.numSteps };",
        rule,
    )
    config = model.run.config
    network = network_of(config)
    parameters = tuple(
        Layer(tf.reshape(tf.constant(layer["weights"], tf.float64), (layer["outputs"], -1)), layer["biases"])
        for layer in found["begun"]
    )
    parameters = tuple(Layer(layer.weights, tf.constant(layer.biases, tf.float64)) for layer in parameters)
    slow = config.model_copy(update={"weights_rate": 0.4, "biases_rate": 0.3, "momentum": 0.0})
    state = State(tf.constant(0), tf.constant(1), parameters, ())
    for batch, loss in zip(found["batches"], found["losses"], strict=True):
        x = tf.constant([example["pixels"] for example in batch], tf.float64) / 255
        y = tf.one_hot([example["target"] for example in batch], config.layers[-1], dtype=tf.float64)
        gradients = STEPS[rule](network, state.parameters, x, y)
        assert is_close(loss, gradients.loss)
        state = descend(slow, state, gradients.layers, 1.0)
    for layer, expected in zip(found["after"], state.parameters, strict=True):
        assert is_close(layer["weights"], expected.weights)
        assert is_close(layer["biases"], expected.biases)
    assert found["numSteps"] == len({str(batch) for batch in found["batches"]}) == 20


@pytest.mark.parametrize("start", sorted(STARTS))
def test_the_page_draws_the_starting_parameters_of_the_model(start, digits, driver):
    if driver.current_url != f"file://{digits.path}":
        browser.show(driver, digits.path)
    sizes = (37, 23, 10)  # no multiples of the four numbers that one counter gives
    config = find_recipe("nielsen-30").config.model_copy(update={"layers": sizes, "seed": 5, "start": start})
    given = describe_start(config)
    found = values_in(driver, "return start.drawLayers(...arguments);", given["name"], sizes, given["keys"])
    for layer, expected in zip(found, initialise(sizes, 5, start), strict=True):
        weights = np.array(layer["weights"]).reshape(expected.weights.shape)
        differences = np.abs(np.append(weights - expected.weights, layer["biases"] - expected.biases))
        # the logarithm of single precision, which is not rounded correctly, differs in the last bit
        assert differences.max() <= 2.4e-7
        assert np.mean(differences == 0) > 0.95


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
@pytest.mark.parametrize("loss", ["quadratic", "cross-entropy"])
def test_every_activation_output_and_loss_equals_that_of_the_model(activation, output, loss, digits, driver):
    random = np.random.default_rng(5)
    layers = [(random.normal(size=(o, i)), random.normal(size=o)) for i, o in ((6, 5), (5, 4), (4, 3))]
    x = random.uniform(size=6)
    y = np.eye(3)[1]
    if driver.current_url != f"file://{digits.path}":
        browser.show(driver, digits.path)
    found = values_in(
        driver,
        "const [config, weights, biases, x, y] = arguments;"
        "const layers = weights.map((rows, i) => ({ weights: Float64Array.from(rows.flat()),"
        "  biases: Float64Array.from(biases[i]), inputs: rows[0].length, outputs: rows.length }));"
        "const example = { x: Float64Array.from(x), y: Float64Array.from(y) };"
        "return network.propagate(network.build(config), layers, example);",
        {"activation": activation, "output": output, "loss": loss},
        [weights.tolist() for weights, _ in layers],
        [biases.tolist() for _, biases in layers],
        x.tolist(),
        y.tolist(),
    )
    parameters = tuple(Layer(*map(tf.constant, layer)) for layer in layers)
    expected = manual(build_network(activation, output, loss), parameters, tf.constant([x]), tf.constant([y]))
    assert is_close(found["loss"], expected.loss)
    for number, layer in enumerate(expected.layers, 1):
        assert is_close(found["gradients"][number - 1]["weights"], layer.weights)
        assert is_close(found["gradients"][number - 1]["biases"], layer.biases)


@pytest.mark.parametrize("size", [(28, 28), (9, 14), (40, 12)])
def test_drawings_are_prepared_as_by_predict(size, digits, driver):
    browser.show(driver, digits.path)
    random = np.random.default_rng(size)
    for number in range(6):
        picture = np.zeros((140, 90), np.uint8)
        top = random.integers(2, 60)
        left = random.integers(2, 40)
        picture[top : top + random.integers(1, 70), left : left + random.integers(1, 45)] = 255  # symmetric: halves
        if number % 2:
            picture[random.integers(1, 139, 40), random.integers(1, 89, 40)] = random.integers(0, 256, 40)
        style = (PictureStyle(), PictureStyle(background="light", darkest=3, brightest=200))[number % 2]
        expected = prepare_picture(Picture(picture, np.full_like(picture, 255)), *size, "picture", style).image
        if number > 3:
            style = style.model_copy(update={"resize": "fit"})
            expected = apply_style(resize_image(picture, *size, "fit"), style)
        found = values_in(
            driver,
            "return drawing.prepare({ height: 140, width: 90, values: Float64Array.from(arguments[0]) },"
            " arguments[1], arguments[2], arguments[3]);",
            picture.reshape(-1).tolist(),
            *size,
            style.model_dump(),
        )
        assert np.abs(np.array(found).reshape(size) - expected.astype(int)).max() <= 1
    empty = "return drawing.prepare({ height: 2, width: 2, values: Float64Array.of(0, 0, 31, 0) }, 28, 28)"
    assert values_in(driver, empty) is None


def test_only_the_strongest_of_many_units_are_drawn(digits, driver):
    browser.show(driver, digits.path)
    strengths = np.random.default_rng(4).permutation(70) + 1
    weights = np.stack([-strengths, strengths // 2], axis=1)
    caption, drawn = values_in(
        driver,
        "const figure = pictures.tiles('weights', Float64Array.from(arguments[0]), 70, 1, 2);"
        "const labels = [...figure.querySelectorAll('canvas')].map((canvas) => canvas.getAttribute('aria-label'));"
        "return [figure.querySelector('figcaption').textContent, labels];",
        weights.reshape(-1).tolist(),
    )
    assert caption.startswith("weights the 64 strongest of 70 units, as images; full colour is 70")
    assert drawn == [f"weights of unit {unit}" for unit in np.argsort(-strengths)[:64]]
