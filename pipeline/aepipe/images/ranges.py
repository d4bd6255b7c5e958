"""Raw values and the numbers of the graphs: the range by which one becomes the other, and back.

Graphs of bounded data work in 0..1: bytes divided by 255, or raw values by a range, of which the ends become 0 and 1. Unbounded
data go in and out as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from aepipe._types import Array
from aepipe.errors import BadInput
from aepipe.space import Raw

WAYS = "a range is LO..HI, dtype, auto or none: 0..4095, dtype of uint16 is 0..65535, none is unbounded"
# So many values are scaled at once: larger arrays of float64 leave the cache, which takes longer than computing.
AT_ONCE = 1 << 16
ROBUST = (0.05, 99.95)  # percentiles of the training data that --range auto takes


def raw_of(given: Any, dtype: np.dtype, look: Callable[[], Array], name: str) -> Raw:
    """How raw values become those of the graphs, by a range: LO..HI or a pair of numbers, dtype, auto or none.

    `dtype` is their type, `look` gives typical ones. Raises BadInput for a range that is none, or that the data cannot have.
    """
    if given == "none":
        return Raw(dtype=dtype.name)
    if given == "dtype":
        if dtype.kind not in "iu":
            raise BadInput(f"{name} holds {dtype} values, which have no lowest and highest", WAYS)
        return Raw(dtype=dtype.name, range=(float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)))
    if given == "auto":
        return Raw(dtype=dtype.name, range=_robust(look(), name), clip=True)
    return Raw(dtype=dtype.name, range=_ends(given))


def clipped(raw: Raw | None, clip: bool) -> Raw | None:
    """`raw`, by which with `clip` values outside its range become the nearer end; raises BadInput where it has no range."""
    if not clip:
        return raw
    if raw is None or raw.range is None:
        raise BadInput("--clip belongs to a model of raw values in a range", "leave out --clip")
    return replace(raw, clip=True)


def _ends(given: Any) -> tuple[float, float]:
    parts = re.split(r"\.\.", given) if isinstance(given, str) else given
    try:
        low, high = (float(part) for part in parts)
    except (TypeError, ValueError):
        raise BadInput(f"{given!r} is no range", WAYS) from None
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise BadInput(f"the range {low:g}..{high:g} does not go from a lower to a higher number", WAYS)
    return low, high


def _robust(values: Array, name: str) -> tuple[float, float]:
    """What all but a few values lie between."""
    if not np.isfinite(values).all():
        raise BadInput(f"{name} contains NaN or infinity", "replace these values before using the data")
    low, high = (float(each) for each in np.percentile(values, ROBUST))
    if not low < high:
        raise BadInput(f"almost all values of {name} are {low:g}", "give the range: --range LO..HI")
    return low, high


def into_graph(values: Array, raw: Raw, indices: Array, name: str) -> Array:
    """Raw values [n, …] as float32 for the graphs.

    Raises BadInput for NaN and infinity, and for values outside the range where they are not clipped; it says how many.
    """
    if values.dtype.kind == "f" and not _is_finite(values):
        index = int(np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(1))[0])
        raise BadInput(f"index {indices[index]} of {name} contains NaN or infinity", "replace these values first")
    if raw.range is None:
        return _single(values, name)
    low, high = raw.range
    inside = not values.size or bool(values.min() >= low and values.max() <= high)
    if not inside and not raw.clip:
        raise _outside(values, raw, indices, name)
    scaled = np.empty(values.shape, np.float32)
    step = max(1, AT_ONCE // max(1, prod(values.shape[1:])))
    wide = np.float32 if _is_exact(values.dtype, low, high) else np.float64
    for start in range(0, len(values), step):
        exact = np.subtract(values[start : start + step], low, dtype=wide)
        exact /= high - low
        scaled[start : start + step] = exact if inside else np.clip(exact, 0, 1, out=exact)
    return scaled


def _is_exact(dtype: np.dtype, low: float, high: float) -> bool:
    """Whether float32 holds the differences as they are. Then its quotient is that of float64 rounded to float32, bit for bit: a
    type of more than twice as many digits rounds a quotient so that rounding it again changes nothing."""
    whole = all(float(end).is_integer() and abs(end) < 2**23 for end in (low, high))
    return dtype.kind in "iu" and dtype.itemsize <= 2 and whole


def _outside(values: Array, raw: Raw, indices: Array, name: str) -> BadInput:
    """The error for values that leave the range: which sample is the first, and how many values do."""
    low, high = raw.range or (-np.inf, np.inf)
    outside = (values < low) | (values > high)
    worst = int(np.flatnonzero(outside.reshape(len(values), -1).any(1))[0])
    count = int(outside.sum())
    message = f"index {indices[worst]} of {name} leaves the range {raw}: {count:,} of {values.size:,} values do"
    return BadInput(
        message,
        f"they go from {values.min():g} to {values.max():g}; train with a wider range, or clip them, as --clip does in infer",
    )


def _is_finite(values: Array) -> bool:
    """Whether there is no NaN and no infinity: both show in the lowest and the highest value."""
    return not values.size or bool(np.isfinite(values.min()) and np.isfinite(values.max()))


def _single(values: Array, name: str) -> Array:
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(single).all():
        raise BadInput(f"{name} holds numbers beyond float32", "scale them first")
    return single


def in_units(values: Array, raw: Raw | None) -> Array:
    """Numbers of the graphs as float32 in the units of the raw values."""
    if raw is None or raw.range is None:
        return values
    low, high = raw.range
    return (values.astype(np.float64) * (high - low) + low).astype(np.float32)


def as_raw(values: Array, raw: Raw) -> Array:
    """Numbers of the graphs as raw values, of their own type: rounded, halves to the even neighbour, and clipped to the type."""
    dtype = np.dtype(raw.dtype)
    scaled = values.astype(np.float64)
    if raw.range is not None:
        scaled = scaled * (raw.range[1] - raw.range[0]) + raw.range[0]
    if dtype.kind == "f":
        return np.clip(scaled, np.finfo(dtype).min, np.finfo(dtype).max).astype(dtype)
    if dtype.kind == "b":
        return scaled >= 0.5
    limits = np.iinfo(dtype)
    highest = float(limits.max) if dtype.itemsize < 8 else np.nextafter(float(limits.max), 0)  # which float64 rounds up
    return np.clip(np.rint(scaled), float(limits.min), highest).astype(dtype)
