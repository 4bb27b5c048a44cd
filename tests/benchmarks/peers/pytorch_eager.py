"""PyTorch without compilation: modules, an optimiser, the training loop of its tutorials over tensors in memory."""

from itertools import cycle, pairwise

import numpy as np
import torch

from tests.benchmarks.cases import Work

ACTIVATIONS = {"sigmoid": torch.nn.Sigmoid, "relu": torch.nn.ReLU}


class PyTorch:
    def __init__(self, work: Work, threads: int, fused: bool) -> None:
        torch.set_num_threads(threads)
        config = work.config
        linears = [torch.nn.Linear(inputs, outputs) for inputs, outputs in pairwise(config.layers)]
        with torch.no_grad():
            for linear, (weights, biases) in zip(linears, work.start, strict=True):
                linear.weight.copy_(torch.from_numpy(weights.T.copy()))
                linear.bias.copy_(torch.from_numpy(biases))
        self._linears = linears
        self._model = torch.nn.Sequential(*_interleave(linears, config.activation, config.output))
        if config.loss == "quadratic":  # the mean over the outputs too, not half their sum: so many times the rate
            self._loss, factor = torch.nn.MSELoss(), config.layers[-1] / 2
            targets = torch.from_numpy(work.targets())
        else:
            self._loss, factor = torch.nn.CrossEntropyLoss(), 1
            targets = torch.from_numpy(work.labels.astype(np.int64))
        self._optimizer = torch.optim.SGD(
            self._model.parameters(), lr=config.weights_rate * factor, momentum=config.momentum, fused=fused
        )
        self._size = config.batch_size
        images = torch.from_numpy(work.scaled_images())
        self._chunks = cycle([(x.flatten(0, 1), y.flatten(0, 1)) for x, y in zip(images, targets, strict=True)])

    def run(self, num_chunks: int) -> None:
        for _ in range(num_chunks):
            images, targets = next(self._chunks)
            for start in range(0, len(images), self._size):
                x, y = images[start : start + self._size], targets[start : start + self._size]
                self._optimizer.zero_grad()
                loss = self._loss(self._model(x), y)
                loss.backward()
                self._optimizer.step()

    def parameters(self) -> list[np.ndarray]:
        pairs = [(linear.weight.detach().numpy().T, linear.bias.detach().numpy()) for linear in self._linears]
        return [part for pair in pairs for part in pair]


def _interleave(linears: list[torch.nn.Linear], activation: str, output: str) -> list[torch.nn.Module]:
    modules: list[torch.nn.Module] = []
    for linear in linears[:-1]:
        modules += [linear, ACTIVATIONS[activation]()]
    # softmax is part of the loss
    return [*modules, linears[-1], *([torch.nn.Sigmoid()] if output == "sigmoid" else [])]


prepare = PyTorch
