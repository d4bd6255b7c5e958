"""Checks of corruptions. Like corruptions, they need NumPy alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from aepipe._types import Array

from .report import Finding, Subject, require, trying, without_torch

SHAPES = ((1, 1, 28, 28), (5, 3, 16, 24), (2, 1, 7, 5), (3, 3, 3, 3))
USUAL = {"corruption": (6, 3, 16, 16), "augmentation": (6, 3, 96, 96)}  # large enough to be cropped


def images(shape: tuple[int, ...] = USUAL["corruption"]) -> Array:
    """Images, float32 in 0..1, that contain exact zeros and ones."""
    values = np.random.default_rng(7).random(shape, dtype=np.float32)
    values[0, 0, 0, :2] = 0, 1
    return values


def apply(corrupt: Any, given: Array, seed: int = 0) -> Array:
    return corrupt(given.copy(), np.random.default_rng(seed))


def keeps_shape_type_and_range(subject: Subject) -> None:
    """The result is float32 of the same shape in 0..1, for one and three channels, odd sizes and a batch of one."""
    corrupt = subject.make()
    extremes = [np.zeros((2, 1, 8, 8), np.float32), np.ones((2, 1, 8, 8), np.float32)]
    for given in [*map(images, SHAPES), *extremes]:
        what = f"the result for {list(given.shape)}"
        with trying(what, "images are float32 [N, C, H, W] of any size"):
            result = apply(corrupt, given)
        require(isinstance(result, np.ndarray), f"{what} is {type(result).__name__}", "return a NumPy array")
        require(
            result.shape == given.shape,
            f"{what} has shape {list(result.shape)}",
            "keep the shape: enlarge back what was reduced",
        )
        require(result.dtype == np.float32, f"{what} is {result.dtype}", "return float32: result.astype(np.float32)")
        require(np.isfinite(result).all(), f"{what} holds NaN or infinity", "keep the values in 0..1")
        low, high = result.min(), result.max()
        require(
            low >= 0 and high <= 1,
            f"{what} has values from {low:.3g} to {high:.3g}",
            "clip to 0..1: np.clip(result, 0, 1)",
        )


def leaves_its_input(subject: Subject) -> None:
    """The images that are passed in stay as they are: they are the target of training, and are read once."""
    corrupt, given = subject.make(), images(USUAL[subject.kind])
    before = given.copy()
    corrupt(given, np.random.default_rng(0))
    require(
        np.array_equal(given, before), "it changes the images it is given", "work on a copy: images = images.copy()"
    )


def follows_the_generator(subject: Subject) -> None:
    """Equal generator states give equal images, whatever the other generators do; another state gives other images."""
    corrupt, given = subject.make(), images(USUAL[subject.kind])
    given[1] = given[0]  # two equal images: a corruption that treats them differently is random
    results = []
    for other in (1, 2):
        before = _seed_the_rest(other)
        results.append(apply(corrupt, given, seed=0))
        touched = _state_of_the_rest() != before
        require(
            not touched,
            "it draws from numpy.random or random",
            "draw everything from the generator `rng` that is passed in",
        )
    change = (
        "draw everything from the generator `rng` that is passed in, in a fixed order, and keep no state between calls"
    )
    require(np.array_equal(results[0], results[1]), "the same generator state gives different images", change)
    generator = np.random.default_rng(1)
    start = str(generator.bit_generator.state)
    different = corrupt(given, generator)
    unused = str(generator.bit_generator.state) == start
    twins_differ = not np.array_equal(results[0][0], results[0][1])
    require(
        not (unused and twins_differ), "it is random and makes no use of `rng`: every batch is spoiled alike", change
    )
    if not unused and np.array_equal(different, results[0]):
        raise Finding("it gives the same images for different generators", change)


def _seed_the_rest(seed: int) -> str:
    np.random.seed(seed)
    random.seed(seed)
    return _state_of_the_rest()


def _state_of_the_rest() -> str:
    keys, position = np.random.get_state()[1:3]  # type: ignore[index]
    return f"{keys.tobytes()!r}{position}{random.getstate()}"


def works_without_torch(subject: Subject) -> None:
    """It runs where torch is not installed: inference corrupts too."""
    with without_torch(), trying("without torch", "compute with NumPy alone: the runtime has no torch"):
        apply(subject.make(), images())


CHECKS: list[Callable[[Subject], None]] = [
    keeps_shape_type_and_range,
    leaves_its_input,
    follows_the_generator,
    works_without_torch,
]
