"""Faults of corruptions."""

from __future__ import annotations

import numpy as np

from tests.testing.planted import fault


@fault("corruption", "keeps_shape_type_and_range", "np.clip")
def leaves_the_range():
    "Adds noise and does not clip."
    return lambda images, rng: images + rng.standard_normal(images.shape, dtype=np.float32)


@fault("corruption", "keeps_shape_type_and_range", "astype(np.float32)")
def computes_in_double():
    "Gives float64."
    return lambda images, rng: images * rng.random(images.shape)


@fault("corruption", "keeps_shape_type_and_range", "enlarge back")
def gets_smaller():
    "Leaves out every second row."
    return lambda images, rng: images[:, :, ::2]


@fault("corruption", "leaves_its_input", "images.copy()")
def works_in_place():
    "Darkens the images that it is given."

    def corrupt(images, rng):
        images *= rng.random()
        return images.astype(np.float32)

    return corrupt


def _dropped(images, draws):
    return (images * (draws > 0.5)).astype(np.float32)


@fault("corruption", "follows_the_generator", "numpy.random")
def uses_the_global_generator():
    "Draws from numpy.random."
    return lambda images, rng: _dropped(images, np.random.random(images.shape))


@fault("corruption", "follows_the_generator", "makes no use of `rng`")
def seeds_its_own_generator():
    "Draws the same numbers every time."
    return lambda images, rng: _dropped(images, np.random.default_rng(0).random(images.shape))


@fault("corruption", "follows_the_generator", "keep no state between calls")
def remembers():
    "Draws from a generator of its own that goes on from call to call."
    own = np.random.default_rng(0)
    return lambda images, rng: _dropped(images, own.random(images.shape))


@fault("corruption", "works_without_torch", "the runtime has no torch")
def computes_with_torch():
    "Uses torch where NumPy would do."

    def corrupt(images, rng):
        from torch.nn import functional

        assert functional
        return _dropped(images, rng.random(images.shape))

    return corrupt
