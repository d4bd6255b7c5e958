"""Checks of augmentations. Like augmentations, they need NumPy alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aepipe._types import Array

from .corruptions import follows_the_generator, images, leaves_its_input
from .report import NotApplicable, Refused, Subject, require, trying, without_torch

SHAPES = ((1, 1, 96, 96), (5, 3, 96, 96), (3, 1, 80, 100), (4, 2, 128), (2, 1, 66, 66, 66), (3, 12))


def made_by(augment: Any, given: Array, seed: int = 0) -> Array:
    """What an augmentation makes of samples; raises Refused where it refuses such samples."""
    try:
        return augment(given.copy(), np.random.default_rng(seed))
    except ValueError as error:
        raise Refused(str(error)) from error


def shape_due(augment: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that it says a sample gets; its own, where the augmentation says nothing."""
    return tuple(augment.shape(shape)) if hasattr(augment, "shape") else shape


def keeps_type_range_and_shape(subject: Subject) -> None:
    """The result is float32 in 0..1 of the same shape, or of the one that its `shape` says; samples that it cannot take it refuses
    with ValueError."""
    augment, taken = subject.make(), 0
    for shape in SHAPES:
        given = np.random.default_rng(7).random(shape, dtype=np.float32)
        what = f"the result for {list(shape)}"
        with trying(what, "refuse what it cannot take with ValueError"):
            try:
                result, due = made_by(augment, given), (len(given), *shape_due(augment, shape[1:]))
            except (Refused, ValueError):
                continue
        taken += 1
        require(isinstance(result, np.ndarray), f"{what} is {type(result).__name__}", "return a NumPy array")
        change = "keep the shape, or say what becomes of it: augment.shape = lambda shape: (shape[0], 64, 64)"
        require(result.shape == due, f"{what} has shape {list(result.shape)}, {list(due)} is due", change)
        require(result.dtype == np.float32, f"{what} is {result.dtype}", "return float32: result.astype(np.float32)")
        low, high = float(result.min()), float(result.max())
        require(low >= 0 and high <= 1, f"{what} goes from {low:.3g} to {high:.3g}", "clip it: np.clip(result, 0, 1)")
    require(taken, "it refuses samples of every kind", "take images of 96x96 with the default options")


def moves_values_of_any_type(subject: Subject) -> None:
    """With `moves` it takes bytes too, and gives of them what it gives of floats."""
    augment = subject.make()
    if not getattr(augment, "moves", False):
        raise NotApplicable("it does not say that it only moves values")
    stored = (images((4, 3, 96, 96)) * 255).astype(np.uint8)
    change = "only move values, whatever their type is, or leave out the attribute `moves`"
    with trying("the result for bytes", change):
        moved, floats = (made_by(augment, each) for each in (stored, stored.astype(np.float32)))
    require(moved.dtype == np.uint8, f"it makes {moved.dtype} of bytes", change)
    require(np.array_equal(moved, floats), "bytes and floats of the same values give different results", change)
    require(np.isin(moved, stored).all(), "its values are not those of the samples", change)


def works_without_torch(subject: Subject) -> None:
    """It runs where torch is not installed."""
    with without_torch(), trying("without torch", "compute with NumPy alone: it runs in a thread beside the training"):
        made_by(subject.make(), images((2, 3, 96, 96)))


CHECKS: list[Callable[[Subject], None]] = [
    keeps_type_range_and_shape,
    moves_values_of_any_type,
    leaves_its_input,
    follows_the_generator,
    works_without_torch,
]
