"""Pixels as bytes."""

from __future__ import annotations

import numpy as np
from aepipe.images.pixels import pixels

# folders of PNG files


def test_pixels_round_and_clip():
    values = np.array([0, 1, 0.5, 0.5 / 255, 0.499 / 255, 1.7, -3, np.nan, np.inf], np.float32)
    assert pixels(values).tolist() == [0, 255, 128, 1, 0, 255, 0, 0, 255]
    exact = np.arange(256, dtype=np.uint8)
    assert np.array_equal(pixels(exact.astype(np.float32) / 255), exact)
    assert pixels(exact) is exact
