"""Export a network as a SavedModel, which needs only TensorFlow, and describe it for other programs."""

from pathlib import Path
from typing import Any

import tensorflow as tf

from model.errors import storage_failures
from model.functions import Tensor
from model.network import Network, Parameters, predict
from model.recipes import TrainingConfig

FORMAT_VERSION = 1


class Served(tf.Module):  # type: ignore[misc]  # TensorFlow ships no types
    """A network with its parameters, as a function of images.

    Attributes:
        parts: every weight and bias, so that TensorFlow finds them.
    """

    def __init__(self, network: Network, parameters: Parameters, height: int, width: int) -> None:
        super().__init__()
        self.parts = [tf.Variable(part) for part in tf.nest.flatten(parameters)]
        variables = tf.nest.pack_sequence_as(parameters, self.parts)

        def serve(images: Tensor) -> dict[str, Tensor]:
            outputs = predict(network, variables, tf.reshape(images, [-1, height * width]))
            return {"probabilities": outputs, "class": tf.argmax(outputs, axis=1, output_type=tf.int64)}

        images = tf.TensorSpec([None, height, width], tf.uint8, name="images")
        self.serve = tf.function(serve, input_signature=[images], autograph=False)


def save_network(folder: Path, network: Network, parameters: Parameters, height: int, width: int) -> None:
    """Write a SavedModel.

    Its default signature takes `images`, uint8[n, height, width] with pixel values 0 to 255, and returns
    `probabilities`, float32[n, classes], the network's outputs, and `class`, int64[n], the largest one's position.

    Args:
        folder: to create.
        network: the functions.
        parameters: float32.
        height: of an image.
        width: of an image.
    """
    served = Served(network, parameters, height, width)
    with storage_failures(folder):
        tf.saved_model.save(served, str(folder), signatures={"serving_default": served.serve})


def describe_network(
    config: TrainingConfig, height: int, width: int, class_names: tuple[str, ...], style: dict[str, Any]
) -> dict[str, Any]:
    """Return JSON values that say how to run a network on the tensors of its safetensors file.

    Args:
        config: of its training, fitted to the data.
        height: of an image.
        width: of an image.
        class_names: in the order of the outputs.
        style: of the images that it was trained on, as JSON values.
    """
    return {
        "format_version": FORMAT_VERSION,
        "layers": list(config.layers),
        "activation": config.activation,
        "output": config.output,
        "class_names": list(class_names),
        "image": {"height": height, "width": width, "dtype": "uint8", "divide_by": 255, **style},
        "tensors": {
            "weights": "layers.{i}.weights: float32[outputs, inputs], i from 0",
            "biases": "layers.{i}.biases: float32[outputs]",
            "forward": "a = f(a @ weights^T + biases), a first the image's rows / 255 in one row, f the activation, "
            "at the last layer the output",
        },
    }
