"""Numbers that a caller gives: Python's, NumPy's or torch's, as Python's own, so that they can be written down."""

from __future__ import annotations

import operator
from typing import Any

from aepipe.errors import BadInput


def whole(name: str, value: Any, least: int, hint: str = "choose a larger number") -> int:
    """A whole number of at least `least`; raises BadInput."""
    try:
        number = operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        number = None
    if number is None or isinstance(value, bool):
        raise BadInput(f"{name} must be a whole number, not {value!r}", f"give {least} or more") from None
    if number < least:
        raise BadInput(f"{name} must be at least {least}, not {number}", hint)
    return number


def real(name: str, value: Any) -> float:
    """A number, which may be infinite or NaN; raises BadInput for anything else."""
    if not isinstance(value, str | bytes | bool):
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            pass
    raise BadInput(f"{name} must be a number, not {value!r}", "give one number")


def sides(size: Any) -> int | tuple[int, int] | None:
    """The size that images shall have: None, one number for square ones, or height and width; raises BadInput."""
    if size is None:
        return None
    if hasattr(size, "__len__") and not isinstance(size, str) and len(size) == 2:
        height, width = (whole("a side of the images", side, 1) for side in size)
        return height, width
    return whole("the size of the images", size, 1)
