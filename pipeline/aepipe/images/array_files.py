"""Files that hold arrays: .npy, .npz, IDX, gzipped or not."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import IO, Any

import numpy as np

from aepipe.errors import BadInput
from aepipe.files.numpy_files import reading

from .arrays import LAYOUTS

IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def load_array_file(path: Path) -> tuple[np.ndarray, np.ndarray | None] | None:
    """(images as they are stored, labels or None) of a .npy, .npz or IDX file, recognised by content, gzipped or not.

    None if the file is none of these. Uncompressed .npy and IDX are memory-mapped. Raises BadInput for damaged ones.
    """
    with reading(f"{path} cannot be read", "it may be truncated or damaged"), path.open("rb") as file:
        head = file.read(8)
        file.seek(0)
        if head[:2] != b"\x1f\x8b":
            return _load(file, head, path, path.stat().st_size)
        with gzip.open(file) as unpacked:
            head = unpacked.read(8)
            unpacked.seek(0)
            loaded = _load(unpacked, head, path, None)  # type: ignore[arg-type]
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
        except ValueError as error:  # the array holds Python objects, which are no images
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


WRITE = "give .npy or .npz with [N, d] numbers, as 'aepipe infer encode' writes them"


def load_codes(path: str, limit: int | None = None) -> np.ndarray:
    """An array of codes from .npy (memory-mapped) or .npz (`codes`, else its first array); raises BadInput."""
    file = Path(path)
    if not file.exists():
        raise BadInput(f"there is no file {path!r}", "make codes with 'aepipe infer encode'")
    with reading(f"{path} holds no codes", WRITE):
        with file.open("rb") as head:
            known = head.read(4) in (b"\x93NUM", b"PK\x03\x04")
        if not known:
            raise BadInput(f"{path} is neither .npy nor .npz", WRITE)
        loaded = np.load(file, mmap_mode="r", allow_pickle=False)
        array = loaded if isinstance(loaded, np.ndarray) else loaded["codes" if "codes" in loaded else loaded.files[0]]
        return array[:limit]
