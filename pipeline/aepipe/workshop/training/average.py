"""An exponential moving average of the weights: what is validated, kept as the best, and exported, where `--ema` is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

PREFIX = "average."  # of the names of its tensors in a checkpoint


class Average:
    """The average of all trained parameters of a model (Polyak and Juditsky, SIAM J. Control 1992). Buffers stay the model's.

    The decay of step t is no larger than (1 + t) / (10 + t), as in TensorFlow's ExponentialMovingAverage, so that the
    random weights that training begins with do not stay in the average of a short run.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
        self.weights = {name: each.detach().clone() for name, each in self.parameters.items()}

    def update(self, step: int) -> None:
        """Take in the weights after step `step` of the training, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        get_ema_multi_avg_fn(decay)(list(self.weights.values()), list(self.parameters.values()), step)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """A block in which the model has the averaged weights."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for name, parameter in self.parameters.items():
            parameter.data, self.weights[name] = self.weights[name], parameter.data

    def state(self) -> dict[str, Tensor]:
        """Its tensors, named for a checkpoint."""
        return {PREFIX + name: value for name, value in self.weights.items()}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take what `state` gave, out of the tensors of a checkpoint; raises KeyError or RuntimeError where it does not fit."""
        for name, value in self.weights.items():
            value.copy_(tensors[PREFIX + name])
