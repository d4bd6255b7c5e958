"""Spoils samples: a corruption for data of a range, and each sample with its own random generator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from aepipe import plugins
from aepipe._types import Array, Corrupt
from aepipe.plugins.calling import names_of


def corruption(what: Any, *, bounded: bool) -> Corrupt:
    """The corruption of a spec or a record. One that names a parameter `bounded` is told whether values lie in 0..1.

    Where it refuses samples with a ValueError, BadInput is raised, and AepipeError for another error of its code.
    """
    choice = plugins.choose("corruption", what)
    corrupt, component = told(choice.make(), bounded=bounded), choice.component

    def spoil(images: Array, rng: np.random.Generator) -> Array:
        with component.running(f" on {list(images.shape)}"):
            return corrupt(images, rng)

    return spoil


def told(function: Callable[..., Any], *, bounded: bool) -> Callable[..., Any]:
    """A function of samples, which is told whether their values lie in 0..1 if it names a parameter `bounded`."""
    return partial(function, bounded=bounded) if "bounded" in names_of(function) else function


def spoiled(corrupt: Corrupt, images: Array, indices: Array, seed: int) -> Array:
    """Spoil samples [n, C, *sides], each with its own generator, so that the result for one depends on `seed` and its index
    alone, and not on its batch."""
    parts = zip(images, indices, strict=True)
    return np.concatenate([corrupt(image[None], np.random.default_rng([seed, int(k)])) for image, k in parts])
