"""Corruptions, which a denoiser learns to undo. They use NumPy alone; training and inference use the same code.

They take samples [n, C, *sides] of any rank, in 0..1, or where they are not `bounded` in units of their own.
"""

from __future__ import annotations

from aepipe import hookimpl


@hookimpl
def register_corruptions(register):
    for corruption in (gaussian, saltpepper, erase, block, downsample, mixed):
        register(corruption)


def gaussian(*, sigma: float = 0.5):
    """Additive Gaussian noise, clipped to 0..1 where the data are bounded.

    sigma: standard deviation of the noise, on the scale 0..1, or in the units of unbounded data
    """
    import numpy as np

    if sigma < 0:
        raise ValueError(f"sigma must not be negative, not {sigma}")

    def corrupt(images, rng, *, bounded=True):
        noisy = rng.standard_normal(images.shape, dtype=np.float32)
        noisy *= sigma
        noisy += images
        return np.clip(noisy, 0, 1, out=noisy) if bounded else noisy

    return corrupt


def saltpepper(*, amount: float = 0.1):
    """Pixels set to black or white at random, all channels together; of unbounded data to the extremes of each sample.

    amount: share of the pixels that are hit, half of them black
    """
    _check_share(amount=amount)

    def corrupt(images, rng, *, bounded=True):
        import numpy as np

        draw = rng.random((len(images), 1, *images.shape[2:]), dtype=np.float32)
        axes = tuple(range(1, images.ndim))
        low, high = (0, 1) if bounded else (images.min(axes, keepdims=True), images.max(axes, keepdims=True))
        return np.where(draw < amount / 2, low, np.where(draw < amount, high, images)).astype(np.float32)

    return corrupt


def erase(*, p: float = 0.5):
    """Pixels dropped at random (set to 0), all channels together.

    p: probability that a pixel is dropped
    """
    _check_share(p=p)

    def corrupt(images, rng):
        import numpy as np

        return images * (rng.random((len(images), 1, *images.shape[2:]), dtype=np.float32) >= p)

    return corrupt


def block(*, size: int = 8):
    """A square hole (set to 0) at a random place in each image; of a signal a gap, of a volume a cube.

    size: sides of the hole in pixels
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")

    def corrupt(images, rng):
        import numpy as np

        count, _, *sides = images.shape
        hole = np.ones((1,) * images.ndim, bool)
        for axis, side in enumerate(sides):
            start = rng.integers(0, max(side - size, 0) + 1, (count, *(1,) * (images.ndim - 1)))
            place = np.arange(side).reshape(-1, *(1,) * (len(sides) - 1 - axis))
            hole = hole & (place >= start) & (place < start + size)
        return np.where(hole, 0, images).astype(np.float32)

    return corrupt


def downsample(*, factor: int = 2):
    """Reduced by averaging blocks of pixels and enlarged back, each pixel repeated.

    factor: how many times smaller
    """
    if factor < 1:
        raise ValueError(f"factor must be at least 1, not {factor}")

    def corrupt(images, rng, *, bounded=True):
        import numpy as np

        means, area = images, np.ones(())
        for axis, side in enumerate(images.shape[2:], 2):
            starts = np.arange(0, side, factor)
            means = np.add.reduceat(means, starts, axis=axis)
            # Blocks at the end may be smaller, so each sum is divided by the number of its pixels.
            area = area[..., None] * np.diff([*starts, side])
        means = (means / area).astype(np.float32)
        for axis, side in enumerate(images.shape[2:], 2):
            means = means.repeat(factor, axis=axis).take(range(side), axis=axis)
        return np.clip(means, 0, 1) if bounded else means

    return corrupt


def mixed(*, of: str = "gaussian;saltpepper;erase;block;downsample"):
    """Each image spoiled by one of several corruptions, chosen at random: one restorer for all.

    of: spec strings, separated by semicolons; all in double quotes if they have options
    """
    from aepipe.images.corruption import corruption

    both = {bounded: [corruption(spec.strip(), bounded=bounded) for spec in of.split(";")] for bounded in (True, False)}

    def corrupt(images, rng, *, bounded=True):
        import numpy as np

        choices = both[bounded]

        spoiled, chosen = np.empty_like(images), rng.integers(len(choices), size=len(images))
        for index, choice in enumerate(choices):
            rows = np.flatnonzero(chosen == index)
            if len(rows):
                spoiled[rows] = choice(images[rows], rng)
        return spoiled

    return corrupt


def _check_share(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie between 0 and 1, not {value}")
