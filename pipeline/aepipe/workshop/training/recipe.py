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
# The share of the steps during which each schedule rises to its peak, unless `warmup` says otherwise.
WARM_UP = {"constant": 0.0, "cosine": 0.1, "onecycle": 0.3}
START, END = 25, 1e4  # by what `onecycle` divides: its peak for the first rate, the first rate for the last


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults are the lecture's. Raises BadInput for values that make no sense."""

    epochs: int = 25
    batch_size: int = 100
    lr: float = 1e-3
    schedule: str = "constant"
    warmup: float | None = None
    clip: float | None = None
    ema: float | None = None
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
        self._check_optional()
        for name, known in (("schedule", tuple(WARM_UP)), ("precision", ("auto", "fp32", "bf16"))):
            if not is_one_of(getattr(self, name), known):
                raise BadInput(f"{name} {getattr(self, name)!r} is unknown", f"known: {', '.join(known)}")
            object.__setattr__(self, name, str(getattr(self, name)))

    def _check_optional(self) -> None:
        """What is None unless somebody asks for it."""
        for name, given, allowed, hint in (
            ("warmup", self.warmup, lambda x: 0 <= x < 1 or (x >= 1 and x == int(x)), "give steps, or a share below 1"),
            ("clip", self.clip, lambda x: x > 0, "give the largest norm that a gradient may have, such as 1"),
            ("ema", self.ema, lambda x: 0 < x < 1, "give the share of the average that a step keeps, such as 0.999"),
        ):
            if given is None:
                continue
            number = real(name, given)
            if not (math.isfinite(number) and allowed(number)):
                raise BadInput(f"{name} cannot be {given}", hint)
            object.__setattr__(self, name, number)

    @property
    def has_length(self) -> bool:
        """Whether the learning rate of a step depends on how many there are, so that the run cannot be made longer."""
        return self.schedule != "constant" or (self.warmup is not None and 0 < self.warmup < 1)

    def settled(self, device: torch.device) -> Recipe:
        """The recipe with `auto` replaced by what it means on this machine, so that a resumed run does the same."""
        bf16 = self.precision == "bf16" or (self.precision == "auto" and has_fast_bf16(device))
        return replace(self, precision="bf16" if bf16 else "fp32", device=device.type)


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of step `step` of `steps`.

    `constant` and `cosine` rise linearly to the peak, `lr`, and stay there or fall to zero in a cosine. `onecycle` rises and
    falls in cosines, from a 25th of the peak and to a ten thousandth of that (Smith and Topin, 2018; figures of torch).
    """
    warmup = WARM_UP[recipe.schedule] if recipe.warmup is None else recipe.warmup
    rise = int(warmup) if warmup >= 1 else round(warmup * steps)
    if recipe.schedule == "cosine" and recipe.warmup is None:
        rise = max(1, rise)
    peak = recipe.lr
    if recipe.schedule == "onecycle":
        first, last = peak / START, peak / START / END
        if step < rise:
            return _between(first, peak, step / rise)
        return _between(peak, last, (step - rise) / max(1, steps - 1 - rise))
    if step < rise:
        return peak * (step + 1) / rise
    return peak if recipe.schedule == "constant" else peak * _falling((step - rise) / max(1, steps - rise))


def _falling(share: float) -> float:
    """1 to 0 along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * share))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * _falling(share)
