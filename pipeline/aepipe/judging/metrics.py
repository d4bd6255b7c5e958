"""How good reconstructions are: mean squared error, PSNR and SSIM, for images in 0..1."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from aepipe._types import Array, Corrupt
from aepipe.images.batches import batches
from aepipe.images.corruption import spoiled
from aepipe.images.source import Source


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error; infinite for 0."""
    return math.inf if mse == 0 else -10 * math.log10(mse)


def psnr_between(images: Array, clean: Array) -> float:
    """PSNR in dB, from the mean squared error over all images together; both arrays have one shape and values in 0..1."""
    return psnr(float(np.square(images - clean).mean()))


def ssim(a: Array, b: Array) -> Array:
    """Structural similarity [N] of images [N, C, H, W] in 0..1, averaged over channels and valid positions.

    The window is a Gaussian of 11 pixels and standard deviation 1.5 (Wang, Bovik, Sheikh and Simoncelli, 2004). For images
    smaller than the window, the largest odd window that fits is used.
    """
    size = min(11, *(side - (side + 1) % 2 for side in a.shape[2:]))
    offsets = np.arange(size) - size // 2
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    rows, columns = (_sliding(side, window) for side in a.shape[2:])

    def blur(images: Array) -> Array:
        return rows.T @ (images @ columns)

    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = blur(a), blur(b)
    variance_a, variance_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return (luminance * structure).mean((1, 2, 3))


def _sliding(side: int, window: Array) -> Array:
    """The matrix [side, valid] that slides a window over a line of pixels; a product is faster than a sum of shifted images."""
    valid = side - len(window) + 1
    matrix = np.zeros((side, valid))
    for offset, weight in enumerate(window):
        matrix[np.arange(valid) + offset, np.arange(valid)] = weight
    return matrix


def evaluate(
    reconstruct: Callable[[Array], Array],
    source: Source,
    *,
    corrupt: Corrupt | None = None,
    seed: int = 0,
    batch_size: int = 500,
    unbounded: bool = False,
    on_batch: Callable[[int], Any] = lambda count: None,
    **reading: Any,
) -> dict[str, Any]:
    """Reconstruct every image of `source`; returns mse, psnr, ssim and count, and with `corrupt` also mse_input.

    `corrupt` spoils the images first, and mse_input is the error of the spoiled images. The target is always the clean image.
    `reading` goes to `aepipe.images.batches.batches` (skip_bad, on_bad).
    """
    total = similarity = total_before = 0.0
    count = 0
    for indices, clean in batches(source, batch_size, **reading):
        images = spoiled(corrupt, clean, indices, seed) if corrupt else clean
        output = reconstruct(images)
        total += float(np.square(output - clean, dtype=np.float64).sum())
        total_before += float(np.square(images - clean, dtype=np.float64).sum())
        similarity += float(ssim(output, clean).sum()) if clean.ndim == 4 else 0.0
        count += len(clean)
        on_batch(len(clean))
    mse = total / (count * math.prod(source.shape))
    result = {"mse": mse, "psnr": psnr(mse), "ssim": similarity / count, "count": count}
    if corrupt:
        result["mse_input"] = total_before / (count * math.prod(source.shape))
    return result
