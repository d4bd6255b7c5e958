"""HDF5 files through h5py: one array of the file, read by index, with the splits that the names of arrays tell."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from aepipe import BadInput

SPLITS = ("train", "test")


class Hdf5:
    """The arrays of a file, of which one is read: that of a name, or of a split, or the only one there is."""

    def __init__(self, path: str, member: str | None):
        import h5py

        self.path, self.member = path, member
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise BadInput(f"{path} is no HDF5 file that can be read: {error}", "repair or remove the file") from None
        self._arrays: dict[str, Any] = {}
        self._file.visititems(self._note)
        self.splits = member is None and all(len(self._of(split)) == 1 for split in SPLITS)

    def _note(self, name: str, each: Any) -> None:
        if hasattr(each, "shape") and len(each.shape or ()) >= 2 and each.dtype.kind in "buif":
            self._arrays[name] = each

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
            message = f"{self.path} has {asked} that is the one to read: {listing}"
            raise BadInput(message, "name one: FILE.h5[NAME]")
        return Indexed(self._arrays[names[0]], self.path)


class Indexed:
    """An array of a file that takes rising indices alone, indexed in any order."""

    def __init__(self, array: Any, path: str):
        self.array, self.path, self.shape, self.dtype = array, path, array.shape, array.dtype

    def __getitem__(self, index: Any) -> np.ndarray:
        try:
            if isinstance(index, slice):
                return self.array[index]
            rising, place = np.unique(np.asarray(index), return_inverse=True)
            return self.array[rising][place]
        except OSError as error:
            hint = "repair the file, or go on without what is damaged: --skip-bad"
            raise BadInput(f"{self.path} is truncated or damaged: {error}", hint) from None


class Hdf5File:
    """A file with one array, `samples`, that grows with what is written."""

    def __init__(self, path: Any):
        self.path = path

    def __enter__(self) -> Hdf5File:
        import h5py

        self._file = h5py.File(self.path, "w")
        self._array: Any = None
        return self

    def write(self, samples: np.ndarray) -> None:
        """Append samples [n, C, *sides] of the type of the first."""
        if self._array is None:
            shape = (0, *samples.shape[1:])
            self._array = self._file.create_dataset(
                "samples", shape, samples.dtype, maxshape=(None, *shape[1:]), chunks=(1, *shape[1:])
            )
        start = len(self._array)
        self._array.resize(start + len(samples), axis=0)
        self._array[start:] = samples

    def __exit__(self, *_: object) -> None:
        self._file.close()
