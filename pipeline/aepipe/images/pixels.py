"""Bytes and floats: the one rule by which pixels become numbers in 0..1 and back.

A byte divided by 255 is the number; a number times 255, rounded, halves to the even neighbour, is the byte.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aepipe._types import Array
from aepipe.errors import BadInput

TOLERANCE = 1e-6  # a float this little outside 0..1 is taken for a rounding error; one farther outside is refused


def as_float(images: np.ndarray) -> np.ndarray:
    """uint8 divided by 255, all else as it is, as a source gives it: C-contiguous float32."""
    if images.dtype == np.uint8:
        return np.divide(images, np.float32(255), dtype=np.float32, order="C")
    return np.ascontiguousarray(images, np.float32)


def checked_float(images: np.ndarray, indices: np.ndarray | None = None, name: str = "the array") -> np.ndarray:
    """Floats as float32 in 0..1; raises BadInput for NaN, infinity and values outside 0..1 (beyond 1e-6).

    The message names an image by its number in `indices`.
    """
    if images.dtype.kind != "f":
        raise BadInput(f"{name} holds {images.dtype} values", "give uint8 in 0..255 or floats in 0..1")
    if images.size == 0 or (images.min() >= 0 and images.max() <= 1):  # NaN fails both
        return images.astype(np.float32, copy=False)
    for i, image in enumerate(images):
        low, high = image.min(), image.max()
        if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
            raise _out_of_range(f"image {i if indices is None else indices[i]} of {name}", low, high)
    return np.clip(images, 0, 1).astype(np.float32, copy=False)


def _out_of_range(what: str, low: Any, high: Any) -> BadInput:
    if not (np.isfinite(low) and np.isfinite(high)):
        return BadInput(f"{what} contains NaN or infinity", "replace these values before using the images")
    message = f"{what} has values from {low:.4g} to {high:.4g}, outside 0..1"
    if low >= 0 and 2 < high <= 255:
        return BadInput(message, "divide by 255, or convert to uint8")
    return BadInput(message, "scale the values to 0..1, or convert to uint8 in 0..255")


def as_bytes(images: Array) -> Array:
    """Floats in 0..1 of any shape as uint8: clipped, times 255, rounded, halves to the even neighbour; NaN becomes 0.

    uint8 passes unchanged. The graphs for bytes and a browser's canvas round in the same way.
    """
    if images.dtype == np.uint8:
        return images
    scaled = np.fmax(images, np.float32(0))
    np.minimum(scaled, np.float32(1), out=scaled)
    np.multiply(scaled, np.float32(255), out=scaled)
    return np.rint(scaled, out=scaled).astype(np.uint8)


def picture(image: Array) -> Any:
    """One image [C, H, W] as a Pillow image of its own size: of three or more channels the first three, else the first."""
    from PIL import Image

    data = as_bytes(image[:3] if len(image) >= 3 else image[:1])
    return Image.fromarray(data[0] if len(data) == 1 else np.ascontiguousarray(data.transpose(1, 2, 0)))
