"""What a bundle is made of, and what the gates refused of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aepipe._types import Corrupt
from aepipe.bundle.manifest import Data
from aepipe.errors import DensityRefused, PrecisionRefused
from aepipe.space import Size, Space
from aepipe.workshop.graphs.quantise import Verdict
from aepipe.workshop.training.model import Autoencoder

from .densities import Densities
from .formats import Formats


@dataclass
class Contents:
    """What a bundle is made of."""

    name: str
    model: Autoencoder
    data: Data
    latent: Size
    fixed: Size  # that of the training data
    steps: tuple[int, int]  # sides of samples, and of codes, that vary are multiples of these
    densities: Densities
    codes: np.ndarray
    labels: np.ndarray | None
    held_out: np.ndarray  # images that did not train, for parity and preview
    components: dict[str, Any]
    trained: dict[str, Any]
    metrics: dict[str, Any]
    class_counts: list[int] | None = None  # how many training samples there are of each class, where there are labels
    corrupt: Corrupt | None = None

    @property
    def space(self) -> Space:
        """What a sample is."""
        return Space(self.data.kind, self.data.shape)


@dataclass
class LeftOut:
    """What the gates refused, and the bundle goes without."""

    densities: dict[str, str]  # label to what is wrong
    precisions: list[Verdict]

    def densities_refused(self, out: Path) -> DensityRefused:
        names = ", ".join(map(repr, self.densities))
        message = f"{'; '.join(self.densities.values())}: {out} was written without the density {names}"
        others = f"; without {', '.join(each.precision for each in self.precisions)} too" if self.precisions else ""
        return DensityRefused(f"{message}{others}", "fit another density to the codes, or leave it out with --without")

    def precisions_refused(self, out: Path, formats: Formats) -> PrecisionRefused | None:
        if not self.precisions:
            return None
        costs = (f"{each.precision} raises the MSE from {each.fp32:.6g} to {each.mse:.6g}" for each in self.precisions)
        allowed = f"by more than the {formats.max_drop:.2%} allowed"
        message = f"{'; '.join(costs)}, {allowed}: {out} was written without it"
        hint = "give more and typical images with --calibrate, or allow more with --max-drop"
        return PrecisionRefused(message, hint)
