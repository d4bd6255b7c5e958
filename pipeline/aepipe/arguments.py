"""Numbers that a caller gives: Python's, NumPy's or torch's, as Python's own, so that they can be written down."""

from __future__ import annotations

import operator
from collections.abc import Collection
from typing import Any

from aepipe.errors import BadInput
from aepipe.space import Size


def whole(name: str, value: Any, least: int, hint: str = "choose a larger number") -> int:
    """A whole number of at least `least`, also as an array or a tensor of one number; raises BadInput."""
    try:
        number = operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        number = None
    truth = isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith(
        "bool"
    )  # NumPy below 2 takes its own for a number
    if number is None or truth:
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
    several = isinstance(size, list | tuple) or len(getattr(size, "shape", ())) == 1
    if several and len(size) == 2:
        height, width = (whole("a side of the images", side, 1) for side in size)
        return height, width
    return whole("the size of the images", size, 1)


def reading(limit: Any, image_size: Any, channels: Any, layout: Any, range: Any) -> dict[str, Any]:
    """How samples shall be read, as `open_images` takes it; raises BadInput for what is no number or no size."""
    return {
        "limit": None if limit is None else whole("the limit", limit, 1),
        "channels": None if channels is None else whole("the number of channels", channels, 1),
        "image_size": sides(image_size),
        "layout": layout,
        "range": range,
    }


def code_size(given: Any) -> Size | None:
    """The size of a code: 8 for a vector, 4x16x16 or (4, 16, 16) for a map, None for "image", the sample's own; raises BadInput."""
    hint = "give a number, the shape of a map such as 4x16x16, or image"
    if isinstance(given, str):
        if given == "image":
            return None
        parts: list[Any] = given.lower().split("x")
        if not all(part.isdecimal() for part in parts):
            raise BadInput(f"{given!r} is no size of a code", hint)
        parts = [int(part) for part in parts]
    else:
        parts = list(given) if hasattr(given, "__len__") else [given]
    if not 1 <= len(parts) <= 4:
        raise BadInput(f"{given!r} is no size of a code", hint)
    return Size(*(whole("the latent size", part, 1, "the default is 8") for part in parts))


def is_one_of(value: Any, known: Collection[str]) -> bool:
    """Whether a value is one of these words, whatever it is: an array for instance is neither equal to a word nor not."""
    return isinstance(value, str) and value in known


def words(name: str, value: Any) -> list[Any]:
    """One text, or several in a list or in any other order, as a list; raises BadInput for what is neither."""
    if isinstance(value, str):
        return [value]
    try:
        found = list(value)
    except TypeError:
        found = [None]
    if not all(isinstance(each, str) for each in found):
        raise BadInput(f"{name} cannot be {value!r}", "give a text, or a list of texts")
    return found
