"""Bytes and floats: the one rule by which pixels become numbers in 0..1 and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from aepipe._types import Array
from aepipe.errors import BadInput


def pixels(images: np.ndarray) -> np.ndarray:
    """Float images in 0..1, any shape, as uint8: floor(255 x + 0.5), clipped, NaN as 0. uint8 passes unchanged."""
    if images.dtype == np.uint8:
        return images
    scaled = np.fmax(images, np.float32(0))
    np.minimum(scaled, np.float32(1), out=scaled)
    return (scaled * np.float32(255) + np.float32(0.5)).astype(np.uint8)


TOLERANCE = 1e-6  # a float this little outside 0..1 is taken for a rounding error; one farther outside is refused


def as_float(images: np.ndarray) -> np.ndarray:
    """uint8 [n,C,H,W] divided by 255, bool as 0 and 1, or floats that are checked: C-contiguous float32 in 0..1."""
    if images.dtype == np.uint8:
        return np.divide(images, np.float32(255), dtype=np.float32, order="C")
    if images.dtype.kind == "b":
        return np.ascontiguousarray(images, np.float32)
    return np.ascontiguousarray(checked_float(images))


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


def to_bytes(images: Array) -> Array:
    """float32 [n, C, H, W] in 0..1 as uint8 [n, H, W, C]: times 255 in float32, rounded, halves to the even neighbour."""
    return np.ascontiguousarray(np.rint(images * np.float32(255)).astype(np.uint8).transpose(0, 2, 3, 1))


def picture(image: Array) -> Any:
    """One image [C, H, W] as a Pillow image of its own size."""
    from PIL import Image

    data = pixels(image)
    return Image.fromarray(data[0] if len(data) == 1 else np.ascontiguousarray(data[:3].transpose(1, 2, 0)))
