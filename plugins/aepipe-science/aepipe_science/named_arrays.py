"""A file that holds several arrays: which of them is read, and reading it in parts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from aepipe import BadInput

SPLITS = ("train", "test")
LARGEST = (
    2**29
)  # bytes of float samples that lie together; of more, training reads them one by one, and does not keep them
DAMAGED = "repair the file, or go on without what is damaged: --skip-bad"


def is_readable(array: Any) -> bool:
    """Whether this is an array of numbers of two or more dimensions."""
    return hasattr(array, "shape") and len(array.shape or ()) >= 2 and getattr(array.dtype, "kind", "") in "buif"


class NamedArrays:
    """The arrays of a file, of which one is read: that of a name, or of a split, or the only one there is."""

    def __init__(self, path: str, arrays: Mapping[str, Any], member: str | None, naming: str):
        self.path, self.member, self.naming = path, member, naming
        self._arrays = {name: array for name, array in arrays.items() if is_readable(array)}
        self.splits = member is None and all(len(self._of(split)) == 1 for split in SPLITS)

    def _of(self, split: str) -> list[str]:
        return [name for name in self._arrays if split in re.findall(r"[a-z]+", name.lower())]

    def load(self, split: str) -> Any:
        """The array, whose axes aepipe's rules of arrays tell; raises BadInput where there is none, or more than one."""
        if split not in SPLITS:
            raise ValueError("the splits are train and test")
        if self.member is not None:
            names = [self.member] if self.member in self._arrays else []
        else:
            names = self._of(split) if self.splits else list(self._arrays)
        if len(names) != 1:
            listing = ", ".join(sorted(self._arrays)[:8]) or "none of two or more dimensions"
            asked = "no array" if self.member is None else f"no array {self.member!r}"
            raise BadInput(f"{self.path} has {asked} that is the one to read: {listing}", f"name one: {self.naming}")
        return Indexed(self._arrays[names[0]], self.path)


class Indexed:
    """An array of a file that takes rising indices alone, indexed in any order."""

    def __init__(self, array: Any, path: str):
        self.array, self.path, self.shape, self.dtype = array, path, array.shape, array.dtype
        chunks = getattr(array, "chunks", None)  # of h5py and zarr alike: the sides of a chunk, or None
        if chunks and chunks[0] * prod(array.shape[1:]) * 4 <= LARGEST:
            self.chunk = int(chunks[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it, by which aepipe knows it for an array; it is only ever indexed."""
        return np.asarray(self[:], dtype)

    def __getitem__(self, index: Any) -> np.ndarray:
        try:
            if isinstance(index, slice):
                return self.array[index]
            rising, place = np.unique(np.asarray(index), return_inverse=True)
            return self.array[rising][place]
        except Exception as error:  # codecs raise errors of many types
            why = " ".join(str(error).split()) or type(error).__name__
            raise BadInput(f"{self.path} is truncated or damaged: {why}", DAMAGED) from None
