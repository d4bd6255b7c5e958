"""How to train: the settings of a run, checked and completed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aepipe.arguments import is_one_of, real, whole
from aepipe.errors import BadInput

from .device import has_fast_bf16

if TYPE_CHECKING:
    import torch

MOST_SEEDS = 2**40  # torch takes 64 bits, and every epoch and every process has a seed of its own
WARM_UP = 0.1  # the cosine schedule rises to its peak during this share of the steps


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults are the lecture's. Raises BadInput for values that make no sense."""

    epochs: int = 25
    batch_size: int = 100
    lr: float = 1e-3
    schedule: str = "constant"
    patience: int = 0
    precision: str = "auto"
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("patience", 0), ("seed", 0)):
            object.__setattr__(self, name, whole(name, getattr(self, name), least))
        if self.seed >= MOST_SEEDS:
            raise BadInput(f"the seed must be below {MOST_SEEDS}, not {self.seed}", "choose a smaller number")
        object.__setattr__(self, "lr", real("the learning rate", self.lr))
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise BadInput(f"the learning rate must be a positive number, not {self.lr}", "the default is 0.001")
        for name, known in (("schedule", ("constant", "cosine")), ("precision", ("auto", "fp32", "bf16"))):
            if not is_one_of(getattr(self, name), known):
                raise BadInput(f"{name} {getattr(self, name)!r} is unknown", f"known: {', '.join(known)}")
            object.__setattr__(self, name, str(getattr(self, name)))

    def settled(self, device: torch.device) -> Recipe:
        """The recipe with `auto` replaced by what it means on this machine, so that a resumed run does the same."""
        bf16 = self.precision == "bf16" or (self.precision == "auto" and has_fast_bf16(device))
        return replace(self, precision="bf16" if bf16 else "fp32", device=device.type)


def learning_rate(peak: float, schedule: str, step: int, steps: int) -> float:
    """The learning rate of step `step` of `steps`: constant, or a linear rise to the peak and then a cosine to zero."""
    if schedule == "constant":
        return peak
    rise = max(1, round(WARM_UP * steps))
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))
