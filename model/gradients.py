"""The two ways to the same gradients, side by side: written out by hand, and by automatic differentiation.

Both take a batch and return the mean loss over its n examples and that mean's derivative with respect to every weight
and bias. With x = a_0, layers z_l = a_(l-1) w_l + b_l and a_l = f(z_l), l = 1 .. L, and the loss C of one example:

    delta_L = dC/da_L * f'(z_L)                    the error of the output layer
    delta_l = (delta_(l+1) w_(l+1)^T) * f'(z_l)    the same, one layer back
    dC/dw_l = a_(l-1)^T delta_l
    dC/db_l = delta_l, summed over the batch

(Nielsen, "Neural Networks and Deep Learning", chapter 2, BP1 to BP4, with the examples as rows.) The mean over the
batch is taken once, in delta_L.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import tensorflow as tf

from model.functions import Activation, Loss, Tensor
from model.network import Layer, Parameters, activations


class Gradients(NamedTuple):
    """What a batch says about the parameters.

    Attributes:
        loss: float[], the mean loss of the batch.
        layers: the derivative of that mean, in the structure and the shapes of the parameters.
    """

    loss: Tensor
    layers: Parameters


GradientFunction: TypeAlias = Callable[[Activation, Loss, Parameters, Tensor, Tensor], Gradients]


def manual(activation: Activation, loss: Loss, parameters: Parameters, x: Tensor, y: Tensor) -> Gradients:
    """Propagate the error back by the equations above.

    Args:
        activation: f.
        loss: C.
        parameters: L layers.
        x: float[n, inputs].
        y: float[n, outputs], one-hot.

    Returns:
        the loss and its gradients.
    """
    a = activations(activation, parameters, x)
    n = tf.cast(tf.shape(x)[0], x.dtype)
    delta = loss.difference(a[-1], y) * activation.slope(a[-1]) / n
    layers = [_layer_gradients(a[-2], delta)]
    for below in range(len(parameters) - 1, 0, -1):
        delta = (delta @ tf.transpose(parameters[below].weights)) * activation.slope(a[below])
        layers.insert(0, _layer_gradients(a[below - 1], delta))
    return Gradients(tf.reduce_mean(loss.value(a[-1], y)), tuple(layers))


def autodiff(activation: Activation, loss: Loss, parameters: Parameters, x: Tensor, y: Tensor) -> Gradients:
    """Let TensorFlow differentiate the mean loss; arguments and result as for `manual`."""
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        mean_loss = tf.reduce_mean(loss.value(activations(activation, parameters, x)[-1], y))
    return Gradients(mean_loss, tape.gradient(mean_loss, parameters))


def _layer_gradients(a: Tensor, delta: Tensor) -> Layer:
    return Layer(tf.transpose(a) @ delta, tf.reduce_sum(delta, axis=0))


STEPS: dict[str, GradientFunction] = {"manual": manual, "autodiff": autodiff}
