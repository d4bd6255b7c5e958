"""NIfTI files through nibabel: volumes as samples, in the units that a file states, and plain volumes written."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from aepipe import BadInput

FIX = "repair or remove the file, or go on without it: --skip-bad"
MOST = 32767  # the longest side that the first version of the format can state


def _nibabel(path: str | Path) -> Any:
    try:
        import nibabel
    except ImportError as error:
        hint = "pip install 'aepipe-science[nifti]'"
        raise BadInput(f"{path} needs nibabel, which is not installed", hint) from error
    return nibabel


class Nifti:
    """One file: all its volumes, whichever split is asked for."""

    def __init__(self, path: str):
        self.path = path

    def load(self, split: str) -> Any:
        """Volumes [N, C, D, H, W], read when they are asked for; raises BadInput for what cannot be read."""
        if split not in ("train", "test"):
            raise ValueError("the splits are train and test")
        return Volumes(self.path)


class Volumes:
    """The volumes of a file by index: x is the last side, z the first. A third axis is a depth of 1 where there is none, the fourth
    is N, and a fifth, of vectors, the channels.

    Numbers are those of the file, times its slope plus its intercept: of the stored type where it states none, or else float32, or
    float64 where more than 16 bits are stored. A compressed series is unpacked once and kept, because it cannot be read in parts.
    """

    def __init__(self, path: str):
        nibabel = _nibabel(path)
        self.path = path
        with _refusing(path):
            image = nibabel.load(path)
            if not isinstance(image, nibabel.Nifti1Image):  # which those of version 2 are as well
                raise BadInput(f"{path} holds no volumes, but {type(image).__name__}", "give volumes")
            self._data: Any = image.dataobj
            shape, stored = tuple(image.shape), image.header.get_data_dtype()
        if not 2 <= len(shape) <= 5 or 0 in shape:
            raise BadInput(f"{path} has the shape {list(shape)}", "give a volume, or a series of volumes")
        if stored.kind not in "buif" or stored.itemsize > 8:
            raise BadInput(f"{path} holds {stored} values", "save real numbers of 8 to 64 bits")
        x, y, z, self._count, channels = (*shape, 1, 1, 1)[:5]
        self.shape = (channels, z, y, x)
        self._own = shape
        plain = self._data.slope == 1 and self._data.inter == 0
        self.dtype = stored.newbyteorder("=")
        if not plain and (stored.kind != "f" or stored.itemsize < 4):
            self.dtype = np.dtype(np.float32 if stored.itemsize <= 2 else np.float64)
        self._kept: np.ndarray | None = None
        if path.lower().endswith(".gz"):
            self._kept = self._arranged(slice(0, self._count))

    def __len__(self) -> int:
        return self._count

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Volumes [n, C, D, H, W]."""
        if self._kept is not None:
            return self._kept[indices]
        parts = [self._arranged(slice(int(index), int(index) + 1)) for index in indices]
        return np.concatenate(parts) if parts else np.empty((0, *self.shape), self.dtype)

    def _arranged(self, times: slice) -> np.ndarray:
        with _refusing(self.path):
            part = (
                self._data[(..., times, *(slice(None),) * (len(self._own) - 4))] if len(self._own) > 3 else self._data
            )
            values = np.asarray(part)
        values = values.reshape(values.shape + (1,) * (5 - values.ndim))  # x, y, z, N, C
        return np.ascontiguousarray(values.transpose(3, 4, 2, 1, 0), dtype=self.dtype)


class _refusing:
    """Whatever nibabel and gzip raise for a damaged file, which is almost anything, as BadInput."""

    def __init__(self, path: str):
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, _: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, BadInput):
            why = " ".join(str(error).split()) or type(error).__name__
            raise BadInput(f"{self.path} is no NIfTI file that can be read: {why}", FIX) from None


class NiftiFile:
    """A file that is written volume by volume [C, D, H, W], of the type of the first; it states no place in space.

    The first axis of the file changes fastest and the channels slowest, so that each channel is collected on its own.
    """

    def __init__(self, path: str | Path, *, compressed: bool):
        self.path, self.compressed = Path(path), compressed

    def __enter__(self) -> NiftiFile:
        self._nibabel = _nibabel(self.path)
        self._stack = ExitStack()
        self._channels: list[IO[bytes]] = []
        self._count, self._sides, self._type = 0, (0, 0, 0), np.dtype(np.uint8)
        return self

    def write(self, samples: np.ndarray) -> None:
        """Append volumes [n, C, D, H, W]; raises BadInput for others."""
        if samples.ndim != 5:
            raise BadInput(f"samples of {samples.ndim - 2} sides are no NIfTI files, which hold volumes", "write .npy")
        if not self._channels:
            self._sides = samples.shape[2:]
            self._type = {"b1": np.dtype(np.uint8), "f2": np.dtype(np.float32)}.get(
                samples.dtype.str[1:], samples.dtype
            )
            self._channels = [self._collecting() for _ in range(samples.shape[1])]
        for channel, file in enumerate(self._channels):
            file.write(np.ascontiguousarray(samples[:, channel], self._type).tobytes())
        self._count += len(samples)

    def _collecting(self) -> IO[bytes]:
        """A file without a name, beside the one that is written."""
        return self._stack.enter_context(tempfile.TemporaryFile(dir=self.path.absolute().parent))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._stack:
            if kind is None and self._channels:
                self._put()

    def _put(self) -> None:
        depth, height, width = self._sides
        shape = (width, height, depth, self._count, len(self._channels))
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        nibabel = self._nibabel
        header = (nibabel.Nifti1Header if max(shape) <= MOST else nibabel.Nifti2Header)()
        header.set_data_dtype(self._type)
        header.set_data_shape(shape)
        header["vox_offset"] = header.single_vox_offset
        header["scl_slope"], header["scl_inter"] = 1, 0
        with self.path.open("wb") as raw, _packed(raw, self.compressed) as file:
            header.write_to(file)
            file.write(bytes(header.single_vox_offset - file.tell()))
            for channel in self._channels:
                channel.seek(0)
                shutil.copyfileobj(channel, file, 1 << 20)


def _packed(file: IO[bytes], compressed: bool) -> Any:
    return gzip.GzipFile("", "wb", 6, file, mtime=0) if compressed else file
