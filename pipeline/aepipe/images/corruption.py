"""Spoils images, each with its own random generator."""

from __future__ import annotations

import numpy as np

from aepipe._types import Array, Corrupt


def spoiled(corrupt: Corrupt, images: Array, indices: Array, seed: int) -> Array:
    """Spoil images [n, C, H, W], each with its own generator, so that the result for an image depends on `seed` and its index
    alone, and not on its batch."""
    parts = zip(images, indices, strict=True)
    return np.concatenate([corrupt(image[None], np.random.default_rng([seed, int(k)])) for image, k in parts])
