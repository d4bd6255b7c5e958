"""How good reconstructions are: mean squared error, PSNR and SSIM of values in 0..1, normalised error and SNR of unbounded ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from aepipe._types import Array, Corrupt
from aepipe.errors import AepipeError
from aepipe.images.batches import batches, one_by_one
from aepipe.images.corruption import spoiled
from aepipe.images.source import Source


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error of values in 0..1; infinite for 0.

    It has no meaning for unbounded values, which have no peak: see `snr`.
    """
    return math.inf if mse == 0 else -10 * math.log10(mse)


def normalised(mse: float, variance: float) -> float:
    """A mean squared error by the variance of the originals: 1 for a reconstruction by their mean, infinite if they have none."""
    if mse == 0:
        return 0.0
    return mse / variance if variance else math.inf


def snr(nmse: float) -> float:
    """Signal-to-noise ratio in dB of a normalised mean squared error; infinite for 0, and 0 for a reconstruction by the mean.

    It is 10 log10 of the power of the originals by that of the error (Le Roux, Wisdom, Erdogan and Hershey, ICASSP 2019). The
    power is taken about the mean of the originals, so that adding a constant to the data changes nothing.
    """
    return psnr(nmse)


def psnr_between(images: Array, clean: Array) -> float:
    """PSNR in dB, from the mean squared error over all images together; both arrays have one shape and values in 0..1."""
    return psnr(float(np.square(images - clean).mean()))


def ssim(a: Array, b: Array) -> Array:
    """Structural similarity [N] of images [N, C, H, W] in 0..1, averaged over channels and valid positions. It is defined for
    images alone, not for rows, signals and volumes.

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


class Spread:
    """The variance of numbers that come in parts (Chan, Golub and LeVeque, 1979)."""

    def __init__(self) -> None:
        self._count, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, values: Array) -> None:
        if not values.size:
            return
        values = values.astype(np.float64)
        mean, count = float(values.mean()), self._count + values.size
        apart = mean - self._mean
        self._squares += float(np.square(values - mean).sum()) + apart**2 * self._count * values.size / count
        self._mean, self._count = self._mean + apart * values.size / count, count

    @property
    def variance(self) -> float:
        return self._squares / self._count if self._count else 0.0


def evaluate(
    reconstruct: Callable[[Array], Array],
    source: Source,
    *,
    corrupt: Corrupt | None = None,
    seed: int = 0,
    batch_size: int = 500,
    unbounded: bool = False,
    own_sizes: bool = False,
    on_batch: Callable[[int], Any] = lambda count: None,
    **reading: Any,
) -> dict[str, Any]:
    """Reconstruct every sample of `source`; returns mse, psnr, ssim (of images) and count, and with `corrupt` also mse_input.

    `psnr` is that of the mean squared error over all values, `psnr_mean` the mean of the PSNR of each sample, by which the
    literature of restoration compares; a sample that is reproduced exactly makes it infinite.

    Of `unbounded` values, which have no peak, it returns nmse, the error by the variance of all values of the source, and snr,
    the same in dB, in the places of psnr and ssim. `corrupt` spoils the samples first, and mse_input is the error of the spoiled
    ones; of unbounded values there are nmse_input and snr_input as well. The target is always the clean sample. Every value of
    every sample weighs alike. With `own_sizes` images of files keep theirs. `reading` goes to
    `aepipe.images.batches.batches` (skip_bad, on_bad). Raises AepipeError for a reconstruction of another shape than its samples,
    or with NaN or infinity.
    """
    total = similarity = total_before = ratios = 0.0
    count, values, spread = 0, 0, Spread()
    given = one_by_one(source, **reading) if own_sizes else batches(source, batch_size, **reading)
    for indices, clean in given:
        images = spoiled(corrupt, clean, indices, seed) if corrupt else clean
        output = _checked(reconstruct(images), clean, indices)
        errors = np.square(output - clean, dtype=np.float64)
        total += float(errors.sum())
        total_before += float(np.square(images - clean, dtype=np.float64).sum())
        if unbounded:
            spread.add(clean)
        else:
            ratios += sum(map(psnr, errors.reshape(len(errors), -1).mean(1).tolist()))
            similarity += float(ssim(output, clean).sum()) if clean.ndim == 4 else 0.0
        count, values = count + len(clean), values + clean.size
        on_batch(len(clean))
    mse = total / values
    result: dict[str, Any] = {"mse": mse}
    if unbounded:
        nmse = normalised(mse, spread.variance)
        result |= {"nmse": nmse, "snr": snr(nmse)}
    else:
        result |= {
            "psnr": psnr(mse),
            "psnr_mean": ratios / count,
            **({"ssim": similarity / count} if len(source.shape) == 3 else {}),
        }
    result["count"] = count
    if corrupt:
        result["mse_input"] = total_before / values
        if unbounded:
            before = normalised(result["mse_input"], spread.variance)
            result |= {"nmse_input": before, "snr_input": snr(before)}
    return result


def _checked(output: Array, clean: Array, indices: Array) -> Array:
    if output.shape != clean.shape:
        message = f"samples of shape {list(clean.shape)} were reconstructed as {list(output.shape)}"
        raise AepipeError(message, "encoder and decoder do not belong together")
    finite = np.isfinite(output).reshape(len(output), -1).all(1)
    if not finite.all():
        index = indices[int(np.flatnonzero(~finite)[0])]
        message = f"the reconstruction of index {index} contains NaN or infinity"
        raise AepipeError(message, "look at that sample; if it is like the others, train again with a smaller --lr")
    return output
