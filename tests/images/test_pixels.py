"""Pixels as bytes."""

from __future__ import annotations

import numpy as np
from aepipe.images.pixels import as_bytes

# folders of PNG files


def test_pixels_round_and_clip():
    values = np.array([0, 1, 0.5, 0.5 / 255, 1.5 / 255, 0.499 / 255, 1.7, -3, np.nan, np.inf], np.float32)
    assert as_bytes(values).tolist() == [0, 255, 128, 0, 2, 0, 255, 0, 0, 255]  # halves to the even neighbour
    exact = np.arange(256, dtype=np.uint8)
    assert np.array_equal(as_bytes(exact.astype(np.float32) / 255), exact)
    assert as_bytes(exact) is exact
