"""Images that are arrays: layouts, number types, and the files that hold arrays (.npy, .npz, IDX, gzipped or not)."""

from __future__ import annotations

import mmap
from typing import Any, NamedTuple, Protocol

import numpy as np

from aepipe._types import Shape
from aepipe.errors import BadInput
from aepipe.space import DTYPES, Sides, Space, fits, listed

LAYOUTS = "arrays are [N,C], [N,H,W], [N,C,H,W], [N,H,W,C] or [N,C,D,H,W]; others say their axes: --layout NCL"
NAMED = ["NC", *(axes for sides in ("L", "HW", "DHW") for axes in (f"NC{sides}", f"N{sides}C", f"N{sides}"))]
USUAL = {2: ["NC"], 3: ["NHW"], 4: ["NCHW", "NHWC"], 5: ["NCDHW", "NDHWC"]}  # by the number of dimensions
FEW = 4  # so many channels, or fewer, are taken for channels
MANY = 16  # a side of so many numbers beside so few is that of a signal, or of an image of a few rows


class Images(Protocol):
    """Images that are read by index: what a data set's `load(split)` may return instead of an array."""

    @property
    def shape(self) -> Shape:
        """C, *sides of every sample."""

    def __len__(self) -> int: ...

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The samples at these indices, [n, C, *sides]: uint8 or float32 in 0..1, other numbers where a range is given.

        Raises BadInput for unusable ones.
        """


class Layout(NamedTuple):
    """How the axes of an array stand: NHWC, NCL, NDHW; without a C there is one channel."""

    axes: str

    @property
    def sides(self) -> str:
        return self.axes[1:].replace("C", "")

    def shape(self, shape: tuple[int, ...]) -> Shape:
        """C, *sides of the samples of an array of this shape."""
        sizes = dict(zip(self.axes, shape, strict=True))
        return (sizes.get("C", 1), *(sizes[side] for side in self.sides))

    def arranged(self, batch: np.ndarray) -> np.ndarray:
        """A batch of the array as [n, C, *sides]."""
        if "C" not in self.axes:
            return batch[:, None]
        return np.moveaxis(batch, self.axes.index("C"), 1)


def layout_of(shape: tuple[int, ...], wanted: Sides | None, name: str, axes: str | None = None) -> Layout:
    """How the axes of an array of this shape stand.

    `axes`, such as NCL, says it. Else it is the layout that gives samples of the shape `wanted`, and without that the usual
    one of so many dimensions. Raises BadInput where none fits, or where it cannot be told.
    """
    if axes is not None:
        layout = _named(axes, shape, name)
        if wanted is not None and not fits(wanted, layout.shape(shape)):
            raise _unfit(name, shape, wanted)
        return layout
    if not 2 <= len(shape) <= 5:
        raise BadInput(f"{name} has {len(shape)} dimensions: {list(shape)}", LAYOUTS)
    if 0 in shape[1:]:
        raise BadInput(f"{name} of shape {list(shape)} holds no pixels", LAYOUTS)
    if wanted is not None:
        able = [each for each in map(Layout, NAMED) if len(each.axes) == len(shape) and fits(wanted, each.shape(shape))]
        if not able:
            raise _unfit(name, shape, wanted)
        return able[0]
    return _usual(shape, name)


def _named(axes: str, shape: tuple[int, ...], name: str) -> Layout:
    if axes.upper() not in NAMED:
        raise BadInput(f"there is no layout {axes!r}", f"layouts are {', '.join(NAMED)}")
    if len(axes) != len(shape):
        raise BadInput(f"{name} has {len(shape)} dimensions, and the layout {axes} {len(axes)}", LAYOUTS)
    return Layout(axes.upper())


def _unfit(name: str, shape: tuple[int, ...], wanted: Sides) -> BadInput:
    noun = f"{Space.of(wanted).kind}s"
    message = f"{name} has shape {list(shape)}, the model takes {noun} of shape {listed(wanted)}"
    return BadInput(message, f"{LAYOUTS}; arrays are never resized, image files are")


def _usual(shape: tuple[int, ...], name: str) -> Layout:
    """The layout that is meant by so many dimensions; raises BadInput where it could as well be another."""
    usual = USUAL[len(shape)]
    if len(shape) == 3 and shape[1] <= FEW and shape[2] >= MANY:
        raise BadInput(
            f"{name} {list(shape)} may hold signals, or images of {shape[1]} rows", "say it: --layout NCL, or NHW"
        )
    if len(shape) <= 3:
        return Layout(usual[0])
    first, last = shape[1] <= FEW, shape[-1] <= FEW
    if first != last:
        return Layout(usual[0] if first else usual[1])
    others = [*usual, "NDHW"] if len(shape) == 4 else usual
    what = "channels first or last" if first or len(shape) == 5 else "images of many channels, or volumes"
    raise BadInput(f"{name} {list(shape)} may have {what}", f"say it: --layout {', or '.join(others)}")


class ArrayImages:
    """An array, memory-mapped or not, read by index."""

    chunk: int  # so many samples lie together, where that is known

    def __init__(self, array: np.ndarray, wanted: Sides | None, name: str, axes: str | None = None):
        if array.dtype.name not in DTYPES:
            hint = {
                "c": "give the magnitude as floats in 0..1",
                "O": "give one numeric array; images of different sizes belong in a folder of image files",
            }
            kind = "objects" if array.dtype.kind == "O" else f"{array.dtype} values"
            raise BadInput(f"{name} holds {kind}", hint.get(array.dtype.kind, "give uint8 in 0..255 or floats in 0..1"))
        self.layout = layout_of(array.shape, wanted, name, axes)
        self.shape, self.dtype = self.layout.shape(array.shape), array.dtype
        self.array, self.name = array, name
        self.mapping = _read_only_mapping(array)

    def __len__(self) -> int:
        return int(self.array.shape[0])

    def read(self, indices: np.ndarray) -> np.ndarray:
        """A fresh array [n, C, *sides] of the array's own numbers, in the machine's order of bytes."""
        batch = self.layout.arranged(self.array[_as_slice(np.asarray(indices))])
        images = np.array(batch, dtype=self.dtype.newbyteorder("="), order="C")
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


def array_images(
    array: Any, shape: Sides | None = None, name: str = "the array", axes: str | None = None, *, lazy: bool = False
) -> ArrayImages:
    """An array as samples [N, C, *sides]. `shape` is what they must have, where that is known; `axes` is the array's layout.
    A `lazy` array lies in a file, and is only ever sliced and indexed. Its attribute `chunk`, if it has one, says how many
    samples lie together.

    Raises BadInput for what holds no numbers, or has no such layout.
    """
    images = ArrayImages(array if lazy else as_array(array, name), shape, name, axes)
    if lazy and hasattr(array, "chunk"):
        images.chunk = array.chunk
    return images


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
