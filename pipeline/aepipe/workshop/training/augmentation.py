"""Varies training samples before they are learned: several augmentations in order, over batches or samples of their own sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from aepipe import plugins
from aepipe._types import Array, Shape
from aepipe.errors import AepipeError, BadInput
from aepipe.images.corruption import told
from aepipe.images.pixels import as_float
from aepipe.plugins import Component
from aepipe.space import listed

FIXED_STREAM, DRAWN_STREAM = 1, 2  # beside the generators of corruptions, which end in the number of a step

Samples = Array | list[Array]  # [n, C, *sides], or n samples [C, *sides] of their own sizes


@dataclass
class Step:
    """One augmentation."""

    component: Component
    augment: Callable[[Array, np.random.Generator], Array]
    moves: bool  # it only moves values, so that it takes them as they are stored
    shape_of: Callable[[Shape], Shape] | None  # what becomes of the shape of a sample
    draws: int  # how often it is to see each sample in an epoch

    def shape(self, shape: Shape) -> Shape:
        """The shape of what it makes of a sample [C, *sides]; raises BadInput where it refuses one."""
        if self.shape_of is None:
            return shape
        with self.component.running(f" on {list(shape)}"):
            return tuple(self.shape_of(shape))

    def apply(self, samples: Samples, rng: np.random.Generator) -> Samples:
        """The samples varied; those that differ in shape come one by one, and become one batch if they have one shape then."""
        if not isinstance(samples, list):
            return self._batch(samples, rng)
        made = [self._batch(each[None], rng)[0] for each in samples]
        return np.stack(made) if len({each.shape for each in made}) == 1 else made

    def _batch(self, images: Array, rng: np.random.Generator) -> Array:
        given = images if self.moves else as_float(images)
        with self.component.running(f" on {list(given.shape)}"):
            made = self.augment(given, rng)
        due = (len(given), *self.shape(given.shape[1:]))
        if not isinstance(made, np.ndarray) or made.shape != due or made.dtype != given.dtype:
            got = f"{made.dtype} {list(made.shape)}" if isinstance(made, np.ndarray) else type(made).__name__
            message = f"{self.component} made {got} of {given.dtype} {list(given.shape)}, {list(due)} is due"
            raise AepipeError(message, self.component.report)
        return made


class Augmentations:
    """Augmentations in their order; none of them leaves samples as they are."""

    def __init__(self, records: Iterable[Any], *, bounded: bool):
        self.steps = [_step(plugins.choose("augmentation", record), bounded=bounded) for record in records]

    def __bool__(self) -> bool:
        return bool(self.steps)

    @property
    def reshape(self) -> bool:
        """Whether samples get another shape, so that not only those that train have to pass."""
        return any(step.shape_of for step in self.steps)

    @property
    def draws(self) -> int:
        """How often each sample is drawn in an epoch."""
        return prod(step.draws for step in self.steps)

    def shape(self, shape: Shape) -> Shape:
        """What becomes of the shape of a sample [C, *sides]; raises BadInput where it is refused."""
        for step in self.steps:
            shape = step.shape(shape)
        return shape

    def drawn(self, samples: Samples, seed: Sequence[int]) -> Array:
        """Samples as they train in one step, [n, C, *sides] float32: what is drawn follows from the seed."""
        rng = np.random.default_rng([*seed, DRAWN_STREAM])
        for step in self.steps:
            samples = step.apply(samples, rng)
        return _as_one(samples)

    def fixed(self, samples: Samples, numbers: Iterable[int], seed: int) -> Array:
        """Samples in the shape in which they train, and varied no further: the same for a sample of the same number."""
        if not self.reshape:
            return _as_one(samples)
        return as_float(np.stack([self._fixed(*each, seed) for each in zip(samples, numbers, strict=True)]))

    def _fixed(self, sample: Array, number: int, seed: int) -> Array:
        rng = np.random.default_rng([seed, int(number), 0, FIXED_STREAM])
        batch: Samples = sample[None]
        for step in self.steps:
            batch = step.apply(batch, rng) if step.shape_of else batch
        return batch[0]


def _step(choice: plugins.Choice, *, bounded: bool) -> Step:
    augment = choice.make()
    draws = getattr(augment, "draws", 1)
    own = getattr(augment, "shape", None)
    return Step(
        choice.component, told(augment, bounded=bounded), bool(getattr(augment, "moves", False)), own, int(draws)
    )


def _as_one(samples: Samples) -> Array:
    """Samples as one batch; raises BadInput where they have several shapes."""
    if isinstance(samples, list):
        shapes = list(dict.fromkeys(each.shape for each in samples))
        if len(shapes) > 1:
            message = f"samples of the shapes {listed(shapes[0])} and {listed(shapes[1])} do not train together"
            raise BadInput(message, "give them one size, for instance --augment crop:size=64")
        samples = np.stack(samples)
    return as_float(samples)
