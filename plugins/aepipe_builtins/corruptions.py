"""Corruptions, which a denoiser learns to undo. They use NumPy alone; training and inference use the same code."""

from __future__ import annotations

from aepipe import hookimpl


@hookimpl
def register_corruptions(register):
    for corruption in (gaussian, saltpepper, erase, block, downsample, mixed):
        register(corruption)


def gaussian(*, sigma: float = 0.5):
    """Additive Gaussian noise, clipped to 0..1.

    sigma: standard deviation of the noise, on the scale 0..1
    """
    import numpy as np

    if sigma < 0:
        raise ValueError(f"sigma must not be negative, not {sigma}")

    def corrupt(images, rng):
        noisy = rng.standard_normal(images.shape, dtype=np.float32)
        noisy *= sigma
        noisy += images
        return np.clip(noisy, 0, 1, out=noisy)

    return corrupt


def saltpepper(*, amount: float = 0.1):
    """Pixels set to black or white at random, all channels together.

    amount: share of the pixels that are hit, half of them black
    """
    _check_share(amount=amount)

    def corrupt(images, rng):
        import numpy as np

        draw = rng.random((len(images), 1, *images.shape[2:]), dtype=np.float32)
        return np.where(draw < amount / 2, 0, np.where(draw < amount, 1, images)).astype(np.float32)

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
    """A square hole (set to 0) at a random place in each image.

    size: height and width of the hole in pixels
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")

    def corrupt(images, rng):
        import numpy as np

        count, _, height, width = images.shape
        top = rng.integers(0, max(height - size, 0) + 1, (count, 1, 1, 1))
        left = rng.integers(0, max(width - size, 0) + 1, (count, 1, 1, 1))
        row, column = np.arange(height)[:, None], np.arange(width)
        hole = (row >= top) & (row < top + size) & (column >= left) & (column < left + size)
        return np.where(hole, 0, images).astype(np.float32)

    return corrupt


def downsample(*, factor: int = 2):
    """Reduced by averaging blocks of pixels and enlarged back, each pixel repeated.

    factor: how many times smaller
    """
    if factor < 1:
        raise ValueError(f"factor must be at least 1, not {factor}")

    def corrupt(images, rng):
        import numpy as np

        height, width = images.shape[2:]
        rows, columns = np.arange(0, height, factor), np.arange(0, width, factor)
        sums = np.add.reduceat(np.add.reduceat(images, rows, axis=2), columns, axis=3)
        # Blocks at the lower and right edge may be smaller, so each sum is divided by the number of its pixels.
        area = np.diff([*rows, height])[:, None] * np.diff([*columns, width])
        means = (sums / area).astype(np.float32)
        large = means.repeat(factor, axis=2)[:, :, :height].repeat(factor, axis=3)[:, :, :, :width]
        return np.clip(large, 0, 1)

    return corrupt


def mixed(*, of: str = "gaussian;saltpepper;erase;block;downsample"):
    """Each image spoiled by one of several corruptions, chosen at random: one restorer for all.

    of: spec strings, separated by semicolons; all in double quotes if they have options
    """
    from aepipe import plugins

    choices = [plugins.create("corruption", spec.strip()) for spec in of.split(";")]

    def corrupt(images, rng):
        import numpy as np

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
