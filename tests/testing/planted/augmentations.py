"""Faults of augmentations."""

from __future__ import annotations

import numpy as np

from tests.testing.planted import fault


@fault("augmentation", "keeps_type_range_and_shape", "np.clip")
def leaves_the_range():
    "Brighter, beyond white."
    return lambda images, rng: images + rng.random((len(images), *(1,) * (images.ndim - 1)), dtype=np.float32)


@fault("augmentation", "keeps_type_range_and_shape", "say what becomes of it")
def crops_in_silence():
    "Smaller samples, of which it says nothing."
    return lambda images, rng: images[..., int(rng.integers(1)) + 8 :].copy()


@fault("augmentation", "keeps_type_range_and_shape", "refuse what it cannot take with ValueError", "builds")
def fails_on_rows():
    "An IndexError for samples without sides."

    def augment(images, rng):
        assert images.shape[3] or rng
        return images.copy()

    return augment


@fault("augmentation", "moves_values_of_any_type", "leave out the attribute")
def moves_by_halves():
    "Says that it only moves values, and halves them."

    def augment(images, rng):
        return (images * np.float32(0.5)).astype(images.dtype)

    augment.moves = True
    return augment


@fault("augmentation", "leaves_its_input", "images.copy()")
def flips_in_place():
    "Mirrors the samples that it is given."

    def augment(images, rng):
        images[...] = images[..., ::-1].copy()
        return images

    return augment


@fault("augmentation", "follows_the_generator", "numpy.random")
def uses_the_global_generator():
    "Draws from numpy.random."
    return lambda images, rng: images if np.random.random() < 2 else images[..., ::-1]


@fault("augmentation", "works_without_torch", "NumPy alone")
def flips_with_torch():
    "Uses torch where NumPy would do."

    def augment(images, rng):
        import torch

        return torch.from_numpy(images).flip(-1).numpy()

    return augment
