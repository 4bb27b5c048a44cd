"""The network's equations: forward pass, hand-written gradients, and those of automatic differentiation."""

from model.gradients import Gradients, autodiff, manual
from model.network import Layer, Network, Parameters, build_network, forward, initialise, scale

__all__ = [
    "Gradients",
    "Layer",
    "Network",
    "Parameters",
    "autodiff",
    "build_network",
    "forward",
    "initialise",
    "manual",
    "scale",
]
