"""A small bundle, with which layouts and tasks are tried."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from aepipe._types import Array

SHAPE, LATENT = (1, 8, 8), 3
_home: list[tempfile.TemporaryDirectory[str]] = []  # removed when the process ends


def images(count: int = 40) -> Array:
    """Images, float32 [count, 1, 8, 8] in 0..1."""
    return np.random.default_rng(0).random((count, *SHAPE), dtype=np.float32)


@cache
def small_bundle() -> Path:
    """A bundle of 8x8 images with linear networks and the density gaussian; exporting it takes some seconds."""
    import torch
    from torch import nn

    import aepipe

    _home.append(tempfile.TemporaryDirectory(prefix="aepipe-testing-"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, LATENT))
        decoder = nn.Sequential(nn.Linear(LATENT, 64), nn.Unflatten(1, SHAPE))
    return aepipe.export_modules(encoder, decoder, images(), Path(_home[-1].name) / "small", show=False)
