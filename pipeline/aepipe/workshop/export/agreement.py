"""How near two computations of the same thing must be: the tolerances of the parity gate."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from aepipe._types import Array
from aepipe.errors import ParityError

BATCHES = (1, 2, 7, 64)
IMAGE_TOLERANCE = 1e-5  # absolute, images in 0..1
CODE_TOLERANCE = 1e-4  # |a − b| ≤ tolerance · max(1, |a|), codes and log-densities


def parts_of(values: Array) -> list[Array]:
    """The first sum(BATCHES) rows in batches of those sizes."""
    edges = np.cumsum((0, *BATCHES))
    return [values[start:end] for start, end in pairwise(edges)]


def difference(name: str, got: Array, expected: Array, tolerance: float, *, relative: bool, of: str = "torch") -> float:
    """The largest difference between what the graph of `name` gave and what `of` gives; raises ParityError over `tolerance`."""
    if got.shape != expected.shape:
        message = f"the graph of {name} gives shape {list(got.shape)}, {of} gives {list(expected.shape)}"
        raise ParityError(message, "no bundle was written; the module's shape must not depend on the batch")
    worst = float((np.abs(got - expected) / (np.maximum(1, np.abs(expected)) if relative else 1)).max())
    if not worst <= tolerance:
        message = f"the graph of {name} differs from {of} by {worst:.2g}, the tolerance is {tolerance:.0e}"
        raise ParityError(
            message, "no bundle was written; look for operations that depend on the batch or on randomness"
        )
    return worst
