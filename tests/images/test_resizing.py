"""Pictures are resized by the rule of docs/preparation.md, in every version of Pillow, to the byte."""

from __future__ import annotations

import numpy as np
from aepipe.images.decoding import covering
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image


def along(lines: np.ndarray, part: float, size: int) -> np.ndarray:
    """The middle `part` of each line of bytes [lines, n], resized as the page says; lines become columns."""
    n = lines.shape[1]
    start, end = np.float32((n - part) * 0.5), np.float32((n - part) * 0.5 + part)
    scale = float(end - start) / size
    wide = max(scale, 1.0)
    made = []
    for i in range(size):
        centre = float(start) + (i + 0.5) * scale
        pixels = np.arange(max(int(centre - 2 * wide + 0.5), 0), min(int(centre + 2 * wide + 0.5), n))
        x = np.abs(pixels - centre + 0.5) * (1 / wide)
        near, far = (1.5 * x - 2.5) * x * x + 1, (((x - 5) * x + 8) * x - 4) * -0.5
        weights = np.where(x < 1, near, np.where(x < 2, far, 0))
        weights = weights / sum(weights.tolist()) * 2**22  # one by one: NumPy would add in another order
        whole = np.trunc(weights + np.where(weights < 0, -0.5, 0.5)).astype(np.int64)
        made.append(np.clip((lines[:, pixels] @ whole + 2**21) >> 22, 0, 255))
    return np.array(made)


SIDES = st.integers(1, 60)


@settings(max_examples=150, deadline=None)
@given(width=SIDES, height=SIDES, to_width=SIDES, to_height=SIDES, seed=st.integers(0, 99))
def test_a_picture_is_resized_as_the_page_says(width, height, to_width, to_height, seed):
    picture = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    whole, wanted = width / height, to_width / to_height
    box_width, box_height = min(width, wanted * height), min(height, width / wanted)
    if whole == wanted:
        box_width, box_height = width, height
    narrow = along(picture.astype(np.int64), box_width, to_width)
    expected = along(narrow, box_height, to_height)
    found = np.asarray(covering(Image.fromarray(picture), to_width, to_height))
    np.testing.assert_array_equal(found, expected)
