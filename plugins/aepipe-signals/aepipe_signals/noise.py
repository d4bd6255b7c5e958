"""Electronic noise: white, and 1/f below a corner frequency (Spieler, Semiconductor Detector Systems, 2005, chapter 3)."""

from __future__ import annotations

import numpy as np


def noise_like(shape: tuple[int, ...], corner: float, rng: np.random.Generator) -> np.ndarray:
    """Noise, float32 of `shape`, of standard deviation 1 with the power spectrum 1 + corner / f along the last axis.

    Twice as many samples are drawn as are kept, because those of a whole period would end where they begin.
    """
    period = 2 * shape[-1]
    white = rng.standard_normal((*shape[:-1], period), dtype=np.float32)
    power = spectrum(np.fft.rfftfreq(period), corner)
    made = np.fft.irfft(np.fft.rfft(white) * np.sqrt(power), period)
    return made[..., : shape[-1]].astype(np.float32)


def spectrum(frequency: np.ndarray, corner: float) -> np.ndarray:
    """The power at frequencies from 0 to a half cycle per sample, in equal steps, whose mean over a period is 1.

    At frequency 0, where 1/f has no value, stands that of the lowest frequency.
    """
    power = 1 + corner / np.maximum(frequency, frequency[1])
    twice = np.r_[1, np.full(len(power) - 2, 2), 1]  # all but the ends stand for a negative frequency as well
    return power / ((power * twice).sum() / twice.sum())


def electronic(sigma: float, corner: float):
    """A corruption that adds this noise. Raises ValueError for a negative number."""
    for name, value in (("sigma", sigma), ("corner", corner)):
        if value < 0:
            raise ValueError(f"{name} must not be negative, not {value}")

    def corrupt(images, rng, *, bounded=True):
        noisy = images + np.float32(sigma) * noise_like(images.shape, corner, rng)
        return np.clip(noisy, 0, 1) if bounded else noisy

    return corrupt
