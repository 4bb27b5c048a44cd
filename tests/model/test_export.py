"""A SavedModel gives the outputs of its network, for every activation and output."""

import numpy as np
import pytest
import tensorflow as tf

from model.export import describe_network, save_network
from model.functions import ACTIVATIONS
from model.network import build_network, initialise, predict
from model.recipes import RECIPES, override

HEIGHT, WIDTH = 5, 4
TOLERANCE = 1e-5  # absolute, of outputs between 0 and 1: sums may be in another order


@pytest.mark.parametrize(
    ("activation", "output", "loss", "layers"),
    [(activation, "softmax", "cross-entropy", (20, 7, 6, 3)) for activation in ACTIVATIONS]
    + [("sigmoid", "sigmoid", "quadratic", (20, 3)), ("relu", "sigmoid", "cross-entropy", (20, 8, 1))],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow")  # raised by TensorFlow itself while it loads
def test_saved_model_gives_the_outputs_of_any_network(activation, output, loss, layers, tmp_path):
    network, parameters = build_network(activation, output, loss), initialise(layers, seed=5)
    save_network(tmp_path / "saved", network, parameters, HEIGHT, WIDTH)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    serve = loaded.signatures["serving_default"]
    for num_images in (0, 1, 7):
        images = np.random.default_rng(0).integers(0, 256, (num_images, HEIGHT, WIDTH), np.uint8)
        served = serve(images=tf.constant(images))
        expected = predict(network, parameters, images.reshape(num_images, HEIGHT * WIDTH)).numpy()
        assert set(served) == {"probabilities", "class"}
        assert (served["probabilities"].dtype, served["class"].dtype) == (tf.float32, tf.int64)
        np.testing.assert_allclose(served["probabilities"], expected, rtol=0, atol=TOLERANCE)
        assert np.array_equal(served["class"], expected.argmax(axis=1))


def test_description_has_layers_functions_classes_and_image():
    config = override(RECIPES["modern"].config, layers=(20, 5, 3))
    description = describe_network(config, HEIGHT, WIDTH, ("x", "y", "z"), {"background": "light"})
    assert (description["layers"], description["activation"], description["output"]) == ([20, 5, 3], "relu", "softmax")
    assert description["class_names"] == ["x", "y", "z"]
    assert description["image"] == {"height": 5, "width": 4, "dtype": "uint8", "divide_by": 255, "background": "light"}
