"""HDF5 files through h5py: one array of the file, read by index, and a file with one array."""

from __future__ import annotations

from typing import Any

import numpy as np
from aepipe import BadInput

from .named_arrays import NamedArrays


def opened(path: str, member: str | None) -> NamedArrays:
    """The arrays of a file, which stays open; raises BadInput for what is no HDF5 file."""
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise BadInput(f"{path} is no HDF5 file that can be read: {error}", "repair or remove the file") from None
    arrays: dict[str, Any] = {}
    file.visititems(lambda name, each: arrays.update({name: each}) if isinstance(each, h5py.Dataset) else None)
    return NamedArrays(path, arrays, member, "FILE.h5[NAME]")


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
