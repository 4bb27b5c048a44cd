"""Gradients of a batch computed in two ways: by hand-written backpropagation and by automatic differentiation.

Both take a batch and return the mean loss over its n examples and that mean's derivative with respect to every weight
and bias. With x = a_0, layers z_l = a_(l-1) w_l^T + b_l and a_l = f(z_l), l = 1 .. L, and the loss C of one example:

    delta_L = dC/dz_L                              the error of the output layer
    delta_l = (delta_(l+1) w_(l+1)) * f'(z_l)      the same, one layer back
    dC/dw_l = delta_l^T a_(l-1)                    summed over the batch, as a product sums
    dC/db_l = delta_l                              summed over the batch

(Nielsen, "Neural Networks and Deep Learning", chapter 2, BP1 to BP4, with the examples as rows.) The mean over the
batch is taken once, in delta_L. With dropout a layer passes a_l m_l on, where m_l is 0 for what is dropped; then
a_l m_l stands for a_l in dC/dw_(l+1), and delta_l has the factor m_l too.
"""

from typing import NamedTuple, Protocol

import tensorflow as tf

from model.functions import Tensor
from model.network import Masks, Network, Parameters, forward, no_masks


class Gradients(NamedTuple):
    """The loss and gradients of a batch.

    Attributes:
        loss: float[], the mean loss of the batch.
        layers: the derivative of that mean, in the structure and the shapes of the parameters.
    """

    loss: Tensor
    layers: Parameters


class GradientFunction(Protocol):
    """A function that computes gradients; see `manual`."""

    def __call__(
        self, network: Network, parameters: Parameters, x: Tensor, y: Tensor, masks: Masks | None = None
    ) -> Gradients:
        """Return the mean loss of a batch and its gradients."""
        ...


def manual(network: Network, parameters: Parameters, x: Tensor, y: Tensor, masks: Masks | None = None) -> Gradients:
    """Propagate the error back by the equations above.

    Args:
        network: f, and the output with its C.
        parameters: L layers.
        x: float[n, inputs].
        y: float[n, outputs], one-hot.
        masks: of dropout, one for each hidden layer; None for none.

    Returns:
        the loss and its gradients.
    """
    a, z = forward(network, parameters, x, masks)
    m = (1, *(masks or no_masks(parameters)))
    n = tf.cast(tf.shape(x)[0], x.dtype)
    delta = network.output.delta(network.output.value(z), y) / n
    layers = [parameters[-1].gradients(a[-1] * m[-1], delta)]
    for below in range(len(parameters) - 1, 0, -1):
        delta = parameters[below].weigh_back(delta) * m[below] * network.hidden.slope(a[below])
        layers.insert(0, parameters[below - 1].gradients(a[below - 1] * m[below - 1], delta))
    return Gradients(tf.reduce_mean(network.output.loss(z, y)), tuple(layers))


def autodiff(network: Network, parameters: Parameters, x: Tensor, y: Tensor, masks: Masks | None = None) -> Gradients:
    """Let TensorFlow differentiate the mean loss; arguments and result as for `manual`."""
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        _, z = forward(network, parameters, x, masks)
        loss = tf.reduce_mean(network.output.loss(z, y))
    return Gradients(loss, tape.gradient(loss, parameters))


STEPS: dict[str, GradientFunction] = {"manual": manual, "autodiff": autodiff}
