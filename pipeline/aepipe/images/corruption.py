"""Spoiling images, each with a generator of its own."""

from __future__ import annotations

import numpy as np

from aepipe._types import Array, Corrupt


def spoiled(corrupt: Corrupt, images: Array, indices: Array, seed: int) -> Array:
    """Images [n, C, H, W], each spoiled with a generator of its own: what an image gets depends on the seed and its index
    alone, not on the batch that it comes in."""
    parts = zip(images, indices, strict=True)
    return np.concatenate([corrupt(image[None], np.random.default_rng([seed, int(k)])) for image, k in parts])
