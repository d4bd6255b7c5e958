"""Small images, and how to read a source of images as a whole."""

from __future__ import annotations

import numpy as np


def blobs(
    count: int = 80, channels: int = 1, *, seed: int = 0, size: tuple[int, int] = (4, 4), times: int = 2
) -> np.ndarray:
    """uint8 images [N, C, H·times, W·times] of squares whose levels are random."""
    levels = np.random.default_rng(seed).random((count, channels, *size))
    return (255 * levels.repeat(times, axis=2).repeat(times, axis=3)).astype(np.uint8)


def everything(source) -> np.ndarray:
    """All images of a source."""
    return source.read(np.arange(len(source)))


def some_bytes(shape: tuple[int, int, int], count: int) -> np.ndarray:
    """Random images of a model of `shape` [C, H, W] as bytes [N, H, W, C]."""
    c, h, w = shape
    return np.random.default_rng(1).integers(0, 256, (count, h, w, c), dtype=np.uint8)


def as_floats(pixels: np.ndarray) -> np.ndarray:
    """Bytes [N, H, W, C] as floats [N, C, H, W] in 0..1."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)) / np.float32(255)
