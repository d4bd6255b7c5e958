"""The types that more than one room uses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray
Shape = tuple[int, int, int]  # C, H, W of an image
Corrupt = Callable[[Array, np.random.Generator], Array]  # images [N, C, H, W] float32 in 0..1, spoiled
