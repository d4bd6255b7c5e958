"""Augmentations: how training samples are varied before they are learned. They use NumPy alone.

They take samples [n, C, *sides] of any rank where it makes sense. Those that only move values (`moves`) get them in the type in
which they are stored, bytes for instance; the others get float32.
"""

from __future__ import annotations

from typing import Literal

from aepipe import hookimpl
from aepipe.plugins import Range, drawn

BRIGHTNESS, CONTRAST = Range(-0.1, 0.1), Range(0.8, 1.25)


@hookimpl
def register_augmentations(register):
    for augmentation in (crop, flip, rotate90, jitter):
        register(augmentation)


def crop(*, size: tuple[int, ...] = (64,), patches: int = 1):
    """A random patch of each sample, whose sides may differ from sample to sample: a window of a signal, a block of a volume.

    size: sides of the patch: 64 for all sides, or one number a side (HxW is written 48/64)
    patches: how many of each sample train in an epoch
    """
    if min(size, default=0) < 1:
        raise ValueError(f"size must be at least 1, not {'/'.join(map(str, size))}")
    if patches < 1:
        raise ValueError(f"patches must be at least 1, not {patches}")
    return Crop(size, patches)


class Crop:
    """Cuts a patch of one size out of each sample."""

    moves = True

    def __init__(self, size, patches):
        self.size, self.draws = size, patches

    def shape(self, shape):
        """C, *sides of the patch of a sample of this shape."""
        sides = self.size * (len(shape) - 1) if len(self.size) == 1 else self.size
        if len(shape) == 1 or len(sides) != len(shape) - 1:
            raise ValueError(f"a patch of {_times(self.size)} cannot be cut out of samples of shape {list(shape)}")
        if any(side > own for side, own in zip(sides, shape[1:], strict=True)):
            raise ValueError(f"a sample of {_times(shape[1:])} is smaller than the patch of {_times(sides)}")
        return (shape[0], *sides)

    def __call__(self, images, rng):
        import numpy as np

        made = np.empty((len(images), *self.shape(images.shape[1:])), images.dtype)
        sides = made.shape[2:]
        rooms = np.array(images.shape[2:]) - sides + 1  # in how many places a patch may begin along each side
        for patch, image, corner in zip(made, images, rng.integers(rooms, size=(len(made), len(sides))), strict=True):
            patch[:] = image[:, *(slice(start, start + side) for start, side in zip(corner, sides, strict=True))]
        return made


def _times(sides) -> str:
    return "x".join(map(str, sides))


def flip(*, axis: Literal["horizontal", "vertical", "both"] = "horizontal"):
    """Mirrored or not, each with probability one half. The last side is the horizontal one, also of signals and volumes.

    axis: horizontal (left and right are exchanged), vertical (top and bottom), or both, each by itself
    """

    def augment(images, rng):
        import numpy as np

        axes = {"horizontal": (-1,), "vertical": (-2,), "both": (-1, -2)}[axis]
        if images.ndim - 2 < -min(axes):
            raise ValueError(
                f"samples of shape {list(images.shape[1:])} have no {'vertical' if -2 in axes else 'own'} side"
            )
        for each in axes:
            chosen = rng.random(len(images)) < 0.5
            images = np.where(chosen.reshape(-1, *(1,) * (images.ndim - 1)), np.flip(images, each), images)
        return images

    augment.moves = True  # type: ignore[attr-defined]
    return augment


def rotate90():
    """Turned by 0, 90, 180 or 270 degrees in the plane of the last two sides, which must be equal."""

    def augment(images, rng):
        import numpy as np

        if images.ndim < 4 or images.shape[-1] != images.shape[-2]:
            hint = "crop them first" if images.ndim >= 4 else "these have none to turn"
            raise ValueError(f"rotate90 takes samples of two equal sides, not {list(images.shape[1:])}: {hint}")
        turns, turned = rng.integers(4, size=len(images)), np.empty_like(images)
        for times in range(4):
            turned[turns == times] = np.rot90(images[turns == times], times, (-2, -1))
        return turned

    augment.moves = True  # type: ignore[attr-defined]
    return augment


def jitter(*, brightness: float | Range = BRIGHTNESS, contrast: float | Range = CONTRAST):
    """Each sample made brighter or darker, and its contrast about its own mean higher or lower; bounded data are clipped.

    brightness: what is added, on the scale 0..1; of unbounded data in standard deviations of the sample
    contrast: the factor on differences from the mean of the sample
    """
    if min(contrast if isinstance(contrast, Range) else (contrast,)) < 0:
        raise ValueError(f"contrast must not be negative, not {contrast}")

    def augment(images, rng, *, bounded=True):
        import numpy as np

        axes = tuple(range(1, images.ndim))
        mean = images.mean(axes, keepdims=True)
        shift = drawn(brightness, images, rng) * (1 if bounded else images.std(axes, keepdims=True))
        made = (images - mean) * drawn(contrast, images, rng) + (mean + shift)
        return (np.clip(made, 0, 1) if bounded else made).astype(np.float32)

    return augment
