"""Densities as the graphs of a bundle see them: which methods they have, which of those are told a class, and of codes that are
maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from aepipe.bundle.manifest import LABEL
from aepipe.plugins.calling import call, takes
from aepipe.space import Size

Method = Literal["sample", "log_prob", "noise"]
Densities = Mapping[str, tuple[nn.Module, dict[str, Any]]]  # label to module and record

GIVEN: dict[Method, str] = {"sample": "noise", "log_prob": "latent", "noise": "latent"}


def offers(density: nn.Module, method: Method) -> bool:
    """Whether a density has a method: all but `sample` are optional."""
    return callable(getattr(density, method, None))


def takes_label(density: nn.Module, method: Method) -> bool:
    """Whether a method of a density is told the class: it names `label`, and the density has `classes`."""
    inner: Any = density.density if isinstance(density, OfMaps) else density
    return bool(getattr(inner, "classes", None)) and takes(getattr(inner, method), LABEL)


def run_method(density: nn.Module, method: Method, values: Tensor, label: Tensor | None = None) -> Tensor:
    """Call a method of a density with what it names."""
    also = {} if label is None else {LABEL: label}
    return call(getattr(density, method), {GIVEN[method]: values}, also=also)


class OfMaps(nn.Module):
    """A density of codes that are flat, for codes that are maps [N, *shape]."""

    def __init__(self, density: nn.Module, shape: tuple[int, ...]):
        super().__init__()
        self.density, self.shape = density, shape
        self.noise_features, self.classes = density.noise_features, getattr(density, "classes", None)
        self.discrete = getattr(density, "discrete", False)
        self.log_prob = self._log_prob if offers(density, "log_prob") else None
        self.noise = self._noise if offers(density, "noise") else None

    def sample(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        return run_method(self.density, "sample", noise, label).unflatten(1, self.shape)

    def _log_prob(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        return run_method(self.density, "log_prob", codes.flatten(1), label)

    def _noise(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        return run_method(self.density, "noise", codes.flatten(1), label)


def of_codes(density: nn.Module, code: Size) -> nn.Module:
    """A density for codes in the shape in which they are."""
    return OfMaps(density, tuple(int(side or 0) for side in code.shape)) if code.spatial else density
