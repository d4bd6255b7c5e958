"""The one check of what a graph makes: a wrong result is an error and never goes on as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aepipe._types import Array
from aepipe.errors import AepipeError


def checked_output(
    results: Mapping[str, Any], name: str, who: str, rows: int, sizes: Sequence[int | None], *, infinite: bool = False
) -> Array:
    """The output `name` of a batch of `rows`: float32 [rows, *sizes], where a size that is None may be any.

    Raises AepipeError, which calls the graph `who`, for another type or shape, for NaN, and for infinity unless it may be
    `infinite`.
    """
    output = results.get(name) if isinstance(results, Mapping) else None
    wanted = [rows, *sizes]
    if not isinstance(output, np.ndarray) or output.dtype != np.float32:
        kind = f"{output.dtype}" if isinstance(output, np.ndarray) else type(output).__name__
        raise AepipeError(
            f"{who} gives {kind} instead of float32", "its graph or its provider is at fault: try --provider cpu"
        )
    if output.ndim != len(wanted) or any(
        own not in (None, size) for own, size in zip(wanted, output.shape, strict=True)
    ):
        shape = f"[{', '.join('any' if size is None else str(size) for size in wanted)}]"
        message = f"{who} makes {list(output.shape)} of a batch of {rows}, where {shape} is needed"
        raise AepipeError(message, "its graph or its provider is at fault: try --provider cpu")
    if np.isfinite(output).all():
        return output
    wrong = np.isnan(output) if infinite else ~np.isfinite(output)
    if not wrong.any():
        return output
    index = int(np.flatnonzero(wrong.reshape(rows, -1).any(1))[0])
    message = f"{who} gives NaN{'' if infinite else ' or infinity'} for index {index} of a batch of {rows}"
    raise AepipeError(message, "look at that input, and try --precision fp32 and --provider cpu")
