"""Images that are arrays: layouts, number types, and the files that hold arrays (.npy, .npz, IDX, gzipped or not)."""

from __future__ import annotations

import mmap
from typing import Any, Protocol

import numpy as np

from aepipe._types import Shape
from aepipe.errors import BadInput

from .pixels import checked_float

LAYOUTS = "arrays of images are [N,H,W], [N,C,H,W] or [N,H,W,C]"


class Images(Protocol):
    """Images that are read by index: what a data set's `load(split)` may return instead of an array."""

    @property
    def shape(self) -> Shape:
        """C, H, W of every image."""

    def __len__(self) -> int: ...

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The images at these indices: [n,C,H,W] uint8, or float32 in 0..1. Raises BadInput for unusable ones."""


def channels_first(shape: tuple[int, ...], wanted: Shape | None, name: str) -> tuple[bool, Shape]:
    """Decide an array's layout: (True, CHW) for [N,H,W] and NCHW, (False, CHW) for NHWC.

    With `wanted` the layout that gives this shape is chosen; if neither does, BadInput names both shapes.
    """
    if len(shape) not in (3, 4):
        raise BadInput(f"{name} has {len(shape)} dimensions: {list(shape)}", LAYOUTS)
    if 0 in shape[1:]:
        raise BadInput(f"{name} of shape {list(shape)} holds no pixels", LAYOUTS)
    if len(shape) == 3:
        options = [(True, (1, shape[1], shape[2]))]
    else:
        options = [(True, (shape[1], shape[2], shape[3])), (False, (shape[3], shape[1], shape[2]))]
    if wanted is not None:
        for option in options:
            if option[1] == tuple(wanted):
                return option
        raise BadInput(
            f"{name} has shape {list(shape)}, the model takes images of shape {list(wanted)}",
            f"{LAYOUTS}; arrays are never resized, image files are",
        )
    for option in options:
        if option[1][0] <= 4:
            return option
    return min(options, key=lambda option: option[1][0])


class ArrayImages:
    """An array, memory-mapped or not, read by index."""

    def __init__(self, array: np.ndarray, wanted: Shape | None, name: str):
        if array.dtype != np.uint8 and array.dtype.kind not in "bf":
            hint = {
                "i": "convert to uint8 in 0..255 or to floats in 0..1",
                "u": "convert to uint8 in 0..255 or to floats in 0..1",
                "c": "give the magnitude as floats in 0..1",
                "O": "give one numeric array; images of different sizes belong in a folder of image files",
            }
            kind = "objects" if array.dtype.kind == "O" else f"{array.dtype} values"
            raise BadInput(f"{name} holds {kind}", hint.get(array.dtype.kind, "give uint8 in 0..255 or floats in 0..1"))
        self.first, self.shape = channels_first(array.shape, wanted, name)
        self.array, self.name = array, name
        self.mapping = _read_only_mapping(array)

    def __len__(self) -> int:
        return len(self.array)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """A fresh array [n,C,H,W]: uint8 as it is, bool as 0.0 and 1.0, floats checked and as float32."""
        indices = np.asarray(indices)
        batch = self.array[_as_slice(indices)]
        if self.array.ndim == 3:
            batch = batch[:, None]
        elif not self.first:
            batch = batch.transpose(0, 3, 1, 2)
        if self.array.dtype == np.uint8:
            images = np.array(batch, dtype=np.uint8, order="C")
        elif self.array.dtype.kind == "b":
            images = np.array(batch, dtype=np.float32, order="C")
        else:
            images = np.ascontiguousarray(checked_float(batch, indices, self.name))
        if self.mapping is not None:  # pages that were read count as resident memory until they are given back
            self.mapping.madvise(mmap.MADV_DONTNEED)
        return images


def _as_slice(indices: np.ndarray) -> slice | np.ndarray:
    """Consecutive indices as a slice, because a slice is copied at once; other indices are returned as they are."""
    if len(indices) and (len(indices) == 1 or (np.diff(indices) == 1).all()):
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices


def _read_only_mapping(array: Any) -> mmap.mmap | None:
    """The mapping behind a read-only memory-mapped array: its pages can be dropped without losing anything."""
    mode = None
    while array is not None and not isinstance(array, mmap.mmap):
        mode = getattr(array, "mode", mode)
        array = getattr(array, "base", None)
    return array if mode == "r" and hasattr(mmap, "MADV_DONTNEED") else None


def array_images(array: Any, shape: Shape | None = None, name: str = "the array") -> Images:
    """An array [N,H,W], NCHW or NHWC as images. `shape` (C,H,W) is what the images must have, where that is known.

    uint8 stays; bool becomes 0 and 1; floats must lie in 0..1, which every read checks. Anything else raises BadInput.
    """
    return ArrayImages(as_array(array, name), shape, name)


def as_array(array: Any, name: str, hint: str = LAYOUTS) -> np.ndarray:
    """An array of NumPy, of torch or of another library, or a list, as NumPy's; raises BadInput."""
    try:
        if hasattr(array, "detach"):  # a torch tensor, perhaps with a gradient or on a GPU
            array = array.detach().cpu()
            array = array.float() if str(array.dtype) == "torch.bfloat16" else array  # NumPy does not have this type
        array = array if isinstance(array, np.ndarray) else np.asarray(array)
    except Exception as error:  # the object may be of any library
        why = " ".join(str(error).split())[:200]
        raise BadInput(f"{name} cannot be read as one array: {why}", hint) from None
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise BadInput(f"{name} has masked values", "replace them: array.filled(0)")
    return array
