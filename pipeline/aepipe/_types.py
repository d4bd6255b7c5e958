"""The types that more than one room uses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray
Shape = tuple[int, ...]  # C, *sides of a sample
ImageShape = tuple[int, int, int]  # C, H, W
Corrupt = Callable[[Array, np.random.Generator], Array]  # samples [N, C, *sides] float32, spoiled
