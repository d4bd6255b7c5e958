"""Files that hold arrays: .npy, .npz, IDX, gzipped or not."""

from __future__ import annotations

import gzip
import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from aepipe.errors import BadInput
from aepipe.files.numpy_files import reading
from aepipe.files.regular import check_regular

from .archives import Loaded, Wanted, first_rows, load_archive

IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def load_array_file(
    path: Path, split: str = "test", member: str | None = None, rows: int | None = None
) -> Loaded | None:
    """What a .npy, .npz or IDX file holds, recognised by content, gzipped or not; None if the file is none of these.

    `split` and `member` choose among the arrays of an archive. Uncompressed .npy and IDX are memory-mapped; of all others
    only the first `rows` are read, where that is given. Raises BadInput for damaged files.
    """
    with reading(f"{path} cannot be read", "it may be truncated or damaged"):
        size = check_regular(path, "write it to a file first").st_size
        with path.open("rb") as file:
            return load_arrays(file, path, size, Wanted(split, member, rows))


def load_arrays(file: IO[bytes], path: Path, size: int | None, wanted: Wanted) -> Loaded | None:
    """The same of an open file, which is mapped from `path` where its `size` is given."""
    head = file.read(8)
    file.seek(0)
    if head[:2] != b"\x1f\x8b":
        return _load(file, head, path, size, wanted)
    with gzip.open(file) as unpacked:
        head = unpacked.read(8)
        unpacked.seek(0)
        loaded = _load(unpacked, head, path, None, wanted)  # type: ignore[arg-type]
    if loaded is None:
        raise BadInput(f"{path} is gzipped and holds no array", "unpack it, or give .npy, .npz or IDX in gzip")
    return loaded


def _load(file: IO[bytes], head: bytes, path: Path, size: int | None, wanted: Wanted) -> Loaded | None:
    """Read by magic number; `size` is None inside gzip, where nothing can be mapped."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        with zipfile.ZipFile(file) as archive:
            return load_archive(archive, str(path), wanted)
    if wanted.member is not None:
        raise BadInput(f"{path} holds no arrays with names", f"leave out [{wanted.member}]")
    if head.startswith(b"\x93NUMPY"):
        if size is None:
            return Loaded(first_rows(file, wanted.rows))
        return Loaded(np.load(path, mmap_mode="r", allow_pickle=False))
    if len(head) >= 4 and head[:2] == b"\0\0" and head[2] in IDX_TYPES and head[3] > 0:
        return Loaded(_load_idx(file, path, size))
    return None


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
