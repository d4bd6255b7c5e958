"""Measures how fast the pairs of networks train; "the same time" is computed from this."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import aepipe
from aepipe.workshop.run import Run

ROUNDS = 3


def speed(data: str, pairs: dict[str, tuple[str, str]], limit: int, runs: Path) -> dict[str, float]:
    """Images per second in one epoch on `limit` images, by pair: the median over rounds, in which the pairs take turns."""
    found: dict[str, list[float]] = {name: [] for name in pairs if name != "pca"}
    for _ in range(ROUNDS):
        for name, rates in found.items():
            encoder, decoder = pairs[name]
            out = runs / f"speed-{name}"
            options = {"limit": limit, "latent_dim": 16, "epochs": 1, "densities": ["gaussian"], "overwrite": True}
            aepipe.fit(data, encoder=encoder, decoder=decoder, out=out, show=False, **options)
            rates.append(Run(out).history[-1]["images_per_second"])
    return {name: median(rates) for name, rates in found.items()}
