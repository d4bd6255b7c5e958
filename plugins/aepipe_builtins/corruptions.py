"""Corruptions, which a denoiser learns to undo. They use NumPy alone; training and inference use the same code.

They take samples [n, C, *sides] of any rank, in 0..1, or where they are not `bounded` in units of their own. An option that is
a range, LO..HI, is drawn anew for each sample.
"""

from __future__ import annotations

from aepipe import hookimpl
from aepipe.plugins import Range, drawn


@hookimpl
def register_corruptions(register):
    for corruption in (gaussian, poisson, saltpepper, erase, block, blur, jpeg, downsample, mixed):
        register(corruption)


def gaussian(*, sigma: float | Range = 0.5, clip: bool = True):
    """Additive Gaussian noise.

    sigma: standard deviation of the noise, on the scale 0..1, or in the units of unbounded data
    clip: keep noisy values of bounded data in 0..1
    """
    import numpy as np

    _check_not_negative(sigma=sigma)

    def corrupt(images, rng, *, bounded=True):
        scale = drawn(sigma, images, rng)
        noisy = rng.standard_normal(images.shape, dtype=np.float32)
        noisy *= scale
        noisy += images
        return np.clip(noisy, 0, 1, out=noisy) if bounded and clip else noisy

    return corrupt


def poisson(*, peak: float | Range = 100.0, sigma: float | Range = 0.01, clip: bool = True):
    """The noise of a sensor: Poisson noise of the light, and Gaussian noise of reading it out.

    The variance of a value x is x / peak + sigma² (Foi et al., IEEE Trans. Image Processing 17, 2008). Only for data in 0..1.

    peak: how many electrons the value 1 stands for; few are a dark scene
    sigma: standard deviation of the Gaussian part, on the scale 0..1
    clip: keep noisy values in 0..1
    """
    import numpy as np

    _check_not_negative(sigma=sigma)
    if min(_ends(peak)) <= 0:
        raise ValueError(f"peak must be positive, not {peak}")

    def corrupt(images, rng, *, bounded=True):
        if not bounded:
            raise ValueError("poisson counts light, and these data are unbounded: give them a --range LO..HI")
        electrons, scale = drawn(peak, images, rng), drawn(sigma, images, rng)
        noisy = (rng.poisson(images * electrons) / electrons).astype(np.float32)
        noisy += rng.standard_normal(images.shape, dtype=np.float32) * scale
        return np.clip(noisy, 0, 1, out=noisy) if clip else noisy

    return corrupt


def blur(*, sigma: float | Range = 1.0):
    """Blurred by a Gaussian along every side, mirrored at the edges.

    sigma: standard deviation of the Gaussian in pixels
    """
    import numpy as np

    _check_not_negative(sigma=sigma)

    def corrupt(images, rng, *, bounded=True):
        widths = np.broadcast_to(drawn(sigma, images, rng), (len(images), *(1,) * (images.ndim - 1))).ravel()
        made = np.stack([_blurred(image, float(width)) for image, width in zip(images, widths, strict=True)])
        return np.clip(made, 0, 1) if bounded else made

    return corrupt


def _blurred(image, sigma: float):
    """One sample [C, *sides], a weighted sum of shifted copies along each side."""
    import numpy as np

    reach = round(4 * sigma)
    if not reach:
        return image
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in range(1, image.ndim):
        edges = [(reach, reach) if each == axis else (0, 0) for each in range(image.ndim)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, edges, "symmetric"), len(weights), axis)
        image = windows @ weights.astype(np.float32)
    return image


def jpeg(*, quality: int | Range = 30):
    """Compressed as a JPEG file and read again. Only for grey and colour images in 0..1.

    quality: 1 (worst) to 100
    """
    from io import BytesIO

    import numpy as np
    from PIL import Image

    if not 1 <= min(_ends(quality)) <= max(_ends(quality)) <= 100:
        raise ValueError(f"quality is from 1 to 100, not {quality}")

    def compressed(image, quality):
        from aepipe.images.pixels import as_bytes, as_float, picture

        with BytesIO() as file:
            picture(as_bytes(image)).save(file, "JPEG", quality=quality)
            read = np.asarray(Image.open(file))
        return as_float(read[None] if read.ndim == 2 else np.moveaxis(read, -1, 0))

    def corrupt(images, rng, *, bounded=True):
        if images.ndim != 4 or images.shape[1] not in (1, 3) or not bounded:
            raise ValueError(
                f"jpeg takes grey and colour images in 0..1, not samples of shape {list(images.shape[1:])}"
            )
        low, high = _ends(quality)
        chosen = rng.integers(low, high + 1, len(images)) if low < high else [low] * len(images)
        return np.stack([compressed(image, int(each)) for image, each in zip(images, chosen, strict=True)])

    return corrupt


def saltpepper(*, amount: float | Range = 0.1):
    """Pixels set to black or white at random, all channels together; of unbounded data to the extremes of each sample.

    amount: share of the pixels that are hit, half of them black
    """
    _check_share(amount=amount)

    def corrupt(images, rng, *, bounded=True):
        import numpy as np

        share = drawn(amount, images, rng)
        draw = rng.random((len(images), 1, *images.shape[2:]), dtype=np.float32)
        axes = tuple(range(1, images.ndim))
        low, high = (0, 1) if bounded else (images.min(axes, keepdims=True), images.max(axes, keepdims=True))
        return np.where(draw < share / 2, low, np.where(draw < share, high, images)).astype(np.float32)

    return corrupt


def erase(*, p: float | Range = 0.5):
    """Pixels dropped at random (set to 0), all channels together.

    p: probability that a pixel is dropped
    """
    _check_share(p=p)

    def corrupt(images, rng):
        import numpy as np

        share = drawn(p, images, rng)
        return images * (rng.random((len(images), 1, *images.shape[2:]), dtype=np.float32) >= share)

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

    of: spec strings, separated by semicolons; a+b is a, and then b; all in double quotes if they have options
    """
    import re

    from aepipe.images.corruption import corruption

    def chain(text, bounded):
        steps = [corruption(spec.strip(), bounded=bounded) for spec in re.split(r"\+(?=\s*[a-z])", text)]

        def spoil(images, rng):
            for step in steps:
                images = step(images, rng)
            return images

        return spoil

    both = {bounded: [chain(text, bounded) for text in of.split(";")] for bounded in (True, False)}

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


def _ends(value: float | Range) -> tuple[float, float]:
    """The lowest and the highest value of an option."""
    return (value.low, value.high) if isinstance(value, Range) else (value, value)


def _check_not_negative(**values: float | Range) -> None:
    for name, value in values.items():
        if min(_ends(value)) < 0:
            raise ValueError(f"{name} must not be negative, not {value}")


def _check_share(**values: float | Range) -> None:
    for name, value in values.items():
        if not 0 <= min(_ends(value)) <= max(_ends(value)) <= 1:
            raise ValueError(f"{name} must lie between 0 and 1, not {value}")
