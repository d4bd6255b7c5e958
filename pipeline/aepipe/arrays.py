"""Images that are arrays: layouts, number types, and the files that hold arrays (.npy, .npz, IDX, gzipped or not)."""

from __future__ import annotations

import gzip
import math
import mmap
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from .errors import BadInput

Shape = tuple[int, int, int]  # C, H, W
TOLERANCE = 1e-6  # how far a float may lie outside 0..1 before it is an error and not rounding
LAYOUTS = "arrays of images are [N,H,W], [N,C,H,W] or [N,H,W,C]"
IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


class Images(Protocol):
    """Images that are read by index: what a data set's `load(split)` may return instead of an array."""

    @property
    def shape(self) -> Shape:
        """C, H, W of every image."""

    def __len__(self) -> int: ...

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The images at these indices: [n,C,H,W] uint8, or float32 in 0..1. Raises BadInput for unusable ones."""


def as_float(images: np.ndarray) -> np.ndarray:
    """uint8 [n,C,H,W] divided by 255, bool as 0 and 1, or floats that are checked: C-contiguous float32 in 0..1."""
    if images.dtype == np.uint8:
        return np.divide(images, np.float32(255), dtype=np.float32, order="C")
    if images.dtype.kind == "b":
        return np.ascontiguousarray(images, np.float32)
    return np.ascontiguousarray(checked_float(images))


def checked_float(images: np.ndarray, indices: np.ndarray | None = None, name: str = "the array") -> np.ndarray:
    """Floats as float32 in 0..1; raises BadInput for NaN, infinity and values outside 0..1 (beyond 1e-6).

    `indices` are the numbers by which the user knows these images, for the message.
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


def channels_first(shape: tuple[int, ...], wanted: Shape | None, name: str) -> tuple[bool, Shape]:
    """Decide an array's layout: (True, CHW) for [N,H,W] and NCHW, (False, CHW) for NHWC.

    With `wanted` the layout that gives it is taken, and BadInput names both shapes where none does.
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
    """Consecutive indices as a slice: one straight copy."""
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
    if hasattr(array, "detach"):  # a torch tensor, perhaps with a gradient or on a GPU
        array = array.detach().cpu()
    try:
        array = array if isinstance(array, np.ndarray) else np.asarray(array)
    except (ValueError, TypeError, RuntimeError) as error:
        raise BadInput(f"{name} cannot be read as one array: {error}", LAYOUTS) from None
    return ArrayImages(array, shape, name)


def load_array_file(path: Path) -> tuple[np.ndarray, np.ndarray | None] | None:
    """(images as they are stored, labels or None) of a .npy, .npz or IDX file, recognised by content, gzipped or not.

    None if the file is none of these. Uncompressed .npy and IDX are memory-mapped. Raises BadInput for damaged ones.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
            file.seek(0)
            if head[:2] != b"\x1f\x8b":
                return _load(file, head, path, path.stat().st_size)
            with gzip.open(file) as unpacked:
                head = unpacked.read(8)
                unpacked.seek(0)
                loaded = _load(unpacked, head, path, None)  # type: ignore[arg-type]
    except BadInput:
        raise
    except Exception as error:  # the readers raise whatever a damaged file leads them to, from zlib.error to TokenError
        why = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        pickled = "allow_pickle" in why or "Python objects" in why
        hint = "save numeric arrays; pickled objects are never read" if pickled else "it may be truncated or damaged"
        raise BadInput(f"{path} cannot be read: {why}", hint) from None
    if loaded is None:
        raise BadInput(f"{path} is gzipped and holds no array", "unpack it, or give .npy, .npz or IDX in gzip")
    return loaded


def _load(file: IO[bytes], head: bytes, path: Path, size: int | None) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Read by magic number; `size` is None inside gzip, where nothing can be mapped."""
    if head.startswith(b"\x93NUMPY"):
        if size is None:
            return np.load(file, allow_pickle=False), None
        return np.load(path, mmap_mode="r", allow_pickle=False), None
    if head.startswith(b"PK\x03\x04"):
        with np.load(file, allow_pickle=False) as archive:
            return _from_npz(archive, path)
    if len(head) >= 4 and head[:2] == b"\0\0" and head[2] in IDX_TYPES and head[3] > 0:
        return _load_idx(file, path, size), None
    return None


def _from_npz(archive: Any, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    found = {}
    for key in ["images"] if "images" in archive.files else archive.files:
        try:
            array = archive[key]
        except ValueError as error:  # objects: no images
            if key == "images":
                raise BadInput(f"'images' in {path} cannot be read: {error}", "save a numeric array") from None
            continue
        found[key] = array
        if key == "images" or (isinstance(array, np.ndarray) and array.ndim in (3, 4)):
            labels = next((archive[name] for name in ("labels", "y") if name in archive.files), None)
            usable = labels is not None and labels.ndim == 1 and len(labels) == len(array)
            return array, labels if usable else None
    listing = ", ".join(f"{key} {list(np.shape(array))}" for key, array in found.items()) or "no numeric array"
    raise BadInput(f"{path} holds no images, but {listing}", f"{LAYOUTS}; name the array 'images'")


def _load_idx(file: IO[bytes], path: Path, size: int | None) -> np.ndarray:
    """An IDX file: two zero bytes, type, number of dimensions, sizes as big-endian uint32, data."""
    head = file.read(4)
    sizes = file.read(4 * head[3])
    shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
    dtype, offset = np.dtype(IDX_TYPES[head[2]]), 4 + len(sizes)
    expected = math.prod(shape) * dtype.itemsize
    data = b"" if size is not None else file.read(expected)
    present = len(data) if size is None else size - offset
    if len(shape) < head[3] or present < expected:
        raise BadInput(f"{path} is truncated: {present:,} bytes of {expected:,}", "copy or download the file again")
    if size is None or not expected:
        return np.frombuffer(data, dtype).reshape(shape)
    return np.memmap(path, dtype, mode="r", offset=offset, shape=shape)
