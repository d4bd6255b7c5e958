"""TIFF files through tifffile: which axes are samples, channels and sides, and reading a stack page by page."""

from __future__ import annotations

import struct
import threading
from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from aepipe import BadInput

from .plain_tiff import plain_page

CODECS = "install what reads it: pip install 'aepipe-science[codecs]'"
CHANNELS = "CS"  # axes that are channels: C of OME and ImageJ, S are the samples of a pixel
SIDES = "YX"
PAGE_AXES = ("YX", "YXS", "SYX")


def arranged(array: np.ndarray, axes: str, pages: str) -> np.ndarray:
    """An array with these axes as [N, C, Y, X], or [N, C, D, Y, X] where the pages are a volume.

    Z is the depth of a volume, or where there is no Z every axis that is neither channel nor side.
    """
    axes = "".join(
        axis if axis not in axes[:at] else chr(ord("a") + at) for at, axis in enumerate(axes)
    )  # all different
    others = [axis for axis in axes if axis not in "YX" + CHANNELS]
    depth = (["Z"] if "Z" in others else others) if pages == "volume" else []
    channels = [axis for axis in axes if axis in CHANNELS]
    if pages == "channels":
        channels = [axis for axis in axes if axis not in "YX"]
    samples = [axis for axis in others if axis not in depth and axis not in channels]
    sizes = dict(zip(axes, array.shape, strict=True))
    moved = array.transpose([axes.index(axis) for axis in (*samples, *channels, *depth, "Y", "X")])
    middle = [
        prod(sizes[axis] for axis in group) for group in (samples, channels, *([depth] if pages == "volume" else []))
    ]
    return moved.reshape(*middle, sizes["Y"], sizes["X"])


class Tiff:
    """One file: all that it holds, whichever split is asked for."""

    def __init__(self, path: str, pages: str):
        self.path, self.pages = path, pages

    def load(self, split: str) -> Any:
        """Samples [N, C, *sides], read when they are asked for; raises BadInput for what cannot be read."""
        if split not in ("train", "test"):
            raise ValueError("the splits are train and test")
        page = plain_page(self.path)
        return TiffSamples(self.path, self.pages) if page is None else TiffPage(arranged(page, "YX", self.pages))


class TiffPage:
    """The one sample of a simple file."""

    def __init__(self, values: np.ndarray):
        self.values, self.shape, self.dtype = values, values.shape[1:], values.dtype

    def __len__(self) -> int:
        return 1

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.values if len(indices) == 1 else self.values[indices]


class TiffSamples:
    """The samples of a file by index. A file of one is read at once and closed; a stack stays open."""

    def __init__(self, path: str, pages: str):
        import tifffile

        self.path, self._lock = path, threading.Lock()
        with ExitStack() as opened:
            try:
                handle = opened.enter_context(open(path, "rb"))  # noqa: PTH123  # a Path takes longer
                self._file = tifffile.TiffFile(handle)
            except (tifffile.TiffFileError, OSError, ValueError, struct.error) as error:
                message = f"{path} is no TIFF file that can be read: {error}"
                raise BadInput(message, "repair or remove the file") from None
            opened.callback(self._file.close)  # also files beside it that belong to its series
            self._open(pages)
            if self._whole is None:
                opened.pop_all()  # a stack is read later, until nobody needs it

    def _open(self, pages: str) -> None:
        series = self._only_series()
        page = series.keyframe
        whole = series.shape[-page.ndim :] == page.shape and len(series.pages) * prod(page.shape) == series.size
        self._whole: np.ndarray | None = None
        if whole and page.axes in PAGE_AXES and series.axes == page.axes:  # one page, read in one step
            self._whole = arranged(self._decoded(0), page.axes, pages)
        elif whole and page.axes in PAGE_AXES and series.axes[-page.ndim :] == page.axes:
            lead = series.axes[: -page.ndim]
            index = np.arange(len(series.pages)).reshape(*series.shape[: -page.ndim], 1, 1)
            self._pages = arranged(index, f"{lead}YX", pages)[..., 0, 0]  # [N, C] or [N, C, D]
            self._page_axes = page.axes
            one = arranged(np.empty(page.shape, bool), page.axes, "samples").shape  # [1, S, Y, X]
            self.shape = (self._pages.shape[1] * one[1], *self._pages.shape[2:], *one[2:])
            self._count = len(self._pages)
        else:
            self._whole = arranged(self._decoded(None), series.axes, pages)
        self.dtype = np.dtype(series.dtype).newbyteorder("=")
        if self._whole is None and self._count == 1:
            self._whole = self._read_pages(np.array([0]))
        if self._whole is not None:
            self.shape, self._count = self._whole.shape[1:], len(self._whole)

    def _only_series(self) -> Any:
        found = [each for each in self._file.series if not each.keyframe.is_reduced]
        if not found or not found[0].size:
            raise BadInput(f"{self.path} holds no images", "remove the file")
        if len(found) > 1:
            shapes = " and ".join(str(list(each.shape)) for each in found[:2])
            raise BadInput(
                f"{self.path} holds {len(found)} stacks of images, of shapes {shapes}", "give each a file of its own"
            )
        if found[0].dtype is None or np.dtype(found[0].dtype).kind not in "buif":
            raise BadInput(f"{self.path} holds {found[0].dtype} values", "save real numbers")
        if sorted(each for each in found[0].axes if each in SIDES) != list("XY"):
            raise BadInput(f"{self.path} has the axes {found[0].axes}, which are not read", "save axes such as ZCYX")
        return found[0]

    def __len__(self) -> int:
        return self._count

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The file's own numbers [n, C, *sides]."""
        if self._whole is None:
            return self._read_pages(np.asarray(indices))
        return self._whole if len(indices) == self._count == 1 else self._whole[indices]

    def _read_pages(self, indices: np.ndarray) -> np.ndarray:
        keys = self._pages[indices]
        if not keys.size:
            return np.empty((0, *self.shape), self.dtype)
        flat = np.stack([self._decoded(int(key)) for key in keys.ravel()])
        planes = arranged(flat, f"I{self._page_axes}", "samples")  # [pages, S, Y, X]
        planes = planes.reshape(*keys.shape, *planes.shape[1:])  # [n, C, (D,) S, Y, X]
        planes = np.moveaxis(planes, keys.ndim, 2)  # [n, C, S, (D,) Y, X]
        return planes.reshape(len(keys), *self.shape).astype(self.dtype, copy=False)

    def _decoded(self, key: int | None) -> np.ndarray:
        """One page, or everything for None; raises BadInput where a codec is missing or the file ends too early."""
        try:
            with self._lock:
                series = self._file.series[0]
                return series.asarray() if key is None else self._page(series, key)
        except Exception as error:  # decoders raise errors of many types
            why = " ".join(str(error).split()) or type(error).__name__
            if "imagecodecs" in why:
                raise BadInput(f"{self.path} is compressed: {why}", CODECS) from None
            hint = "repair or remove the file, or go on without it: --skip-bad"
            raise BadInput(f"{self.path} is truncated or damaged: {why}", hint) from None

    def _page(self, series: Any, key: int) -> np.ndarray:
        page = series.pages[key]
        size = self._file.filehandle.size
        if any(at + count > size for at, count in zip(page.dataoffsets, page.databytecounts, strict=True)):
            raise ValueError(f"page {key} ends behind the end of the file")
        return page.asarray()


class TiffFile:
    """A file that is written sample by sample [C, Y, X] or [C, Z, Y, X], of the type of the first; several have the axis T."""

    def __init__(self, path: str | Path):
        self.path = path

    def __enter__(self) -> TiffFile:
        import tifffile

        self._file = tifffile.TiffWriter(self.path)
        self._first: np.ndarray | None = None  # kept until it is known whether there are more
        self._several = False
        return self

    def write(self, samples: np.ndarray) -> None:
        """Append samples [n, C, Y, X] or [n, C, Z, Y, X]; raises BadInput for others."""
        if samples.ndim not in (4, 5):
            raise BadInput(f"samples of {samples.ndim - 2} sides are no TIFF files", "write .npy")
        for sample in samples:
            if self._first is not None:
                self._several = True
                self._put(self._first)
            self._first = sample

    def _put(self, sample: np.ndarray) -> None:
        photometric, axes = "minisblack", "CZYX" if sample.ndim == 4 else "CYX"
        if sample.shape[0] == 1:
            sample, axes = sample[0], axes[1:]
        elif axes == "CYX" and len(sample) == 3 and sample.dtype.kind == "u":
            sample, axes, photometric = sample.transpose(1, 2, 0), "YXS", "rgb"
        data = np.ascontiguousarray(sample.astype(np.uint8) if sample.dtype == bool else sample)
        axes = f"T{axes}" if self._several else axes
        self._file.write(data, photometric=photometric, metadata={"axes": axes}, contiguous=True)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._first is not None:
                self._put(self._first)
        finally:
            self._file.close()
