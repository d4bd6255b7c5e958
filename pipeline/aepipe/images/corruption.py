"""Spoils samples: a corruption for data of a range, and each sample with its own random generator."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import numpy as np

from aepipe import plugins
from aepipe._types import Array, Corrupt


def corruption(what: Any, *, bounded: bool) -> Corrupt:
    """The corruption of a spec or a record. One that names a parameter `bounded` is told whether values lie in 0..1."""
    corrupt = plugins.create("corruption", what)
    try:
        told = "bounded" in inspect.signature(corrupt).parameters
    except (TypeError, ValueError):  # not every callable has a signature
        told = False
    return partial(corrupt, bounded=bounded) if told else corrupt


def spoiled(corrupt: Corrupt, images: Array, indices: Array, seed: int) -> Array:
    """Spoil samples [n, C, *sides], each with its own generator, so that the result for one depends on `seed` and its index
    alone, and not on its batch."""
    parts = zip(images, indices, strict=True)
    return np.concatenate([corrupt(image[None], np.random.default_rng([seed, int(k)])) for image, k in parts])
