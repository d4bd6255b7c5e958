"""Codes as they are stored: in float32, float16, or int8 with one step per channel, in .npy or .npz."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from aepipe._types import Array
from aepipe.errors import BadInput
from aepipe.files.numpy_files import reading
from aepipe.files.regular import check_regular

from .arrays import as_array

CodeType = Literal["float32", "float16", "int8"]
CODE_TYPES: tuple[CodeType, ...] = get_args(CodeType)
STEPS = 127  # int8 codes go from -127 to 127
WRITE = "give .npy or .npz with [N, *code] numbers, as 'aepipe infer encode' writes them"


@dataclass(frozen=True)
class Steps:
    """How numbers of a channel become whole numbers: offset + scale * int8, both float32 [c]."""

    scale: Array
    offset: Array

    @classmethod
    def between(cls, low: Array, high: Array) -> Steps:
        """The smallest steps by which -127..127 reach from the lowest to the highest number of each channel [c].

        A channel that does not vary has steps of 0 and keeps its number exactly.
        """
        low, high = low.astype(np.float64), high.astype(np.float64)
        offset = (low / 2 + high / 2).astype(np.float32)
        wanted = np.maximum(high - offset, offset - low) / STEPS
        scale = wanted.astype(np.float32)
        return cls(np.where(scale < wanted, np.nextafter(scale, np.float32(np.inf)), scale), offset)

    def rounded(self, codes: Array) -> Array:
        """Codes [N, c, *sides] as int8, halves to the even neighbour."""
        scale, offset = self._along(codes.ndim)
        counted = (codes.astype(np.float64) - offset) / np.where(scale == 0, 1, scale)
        return np.clip(np.rint(counted), -STEPS, STEPS).astype(np.int8)

    def undone(self, counted: Array) -> Array:
        """The codes, as float32, of such whole numbers."""
        scale, offset = self._along(counted.ndim)
        codes = counted.astype(np.float64) * scale + offset
        limit = np.finfo(np.float32).max
        return np.clip(codes, -limit, limit).astype(np.float32)

    def _along(self, axes: int) -> tuple[Array, Array]:
        shape = (-1, *[1] * (axes - 2))
        return self.scale.astype(np.float64).reshape(shape), self.offset.astype(np.float64).reshape(shape)


class Limits:
    """The lowest and the highest number of each channel, of codes [n, c, *sides] that come in parts."""

    def __init__(self, channels: int):
        self.low, self.high = np.full(channels, np.inf), np.full(channels, -np.inf)

    def add(self, codes: Array) -> None:
        if codes.size:
            others = (0, *range(2, codes.ndim))
            self.low = np.minimum(self.low, codes.min(others))
            self.high = np.maximum(self.high, codes.max(others))

    @property
    def steps(self) -> Steps:
        """The steps for these numbers; all are 0 where none have come."""
        seen = self.low <= self.high
        return Steps.between(np.where(seen, self.low, 0), np.where(seen, self.high, 0))


class Difference:
    """What storing costs: how far stored codes lie from codes [n, c, *sides] that come in parts."""

    def __init__(self) -> None:
        self.largest, self._squares, self._count = 0.0, 0.0, 0
        self._about: Array = np.zeros(0)  # the channels' means in the first part, about which the sums are exact enough
        self._sums: Array = np.zeros(0)
        self._sums_of_squares: Array = np.zeros(0)

    def add(self, codes: Array, stored: Array) -> None:
        if not codes.size:
            return
        flat = np.moveaxis(codes, 1, 0).reshape(codes.shape[1], -1).astype(np.float64)
        apart = np.abs(codes.astype(np.float64) - stored)
        if not self._count:
            self._about = flat.mean(1)
            self._sums = self._sums_of_squares = np.zeros(len(flat))
        self.largest = max(self.largest, float(apart.max()))
        self._squares += float(np.square(apart).sum())
        flat = flat - self._about[:, None]
        self._sums, self._sums_of_squares = self._sums + flat.sum(1), self._sums_of_squares + np.square(flat).sum(1)
        self._count += codes.size

    @property
    def rms(self) -> float:
        """The root mean square of the differences."""
        return float((self._squares / self._count) ** 0.5) if self._count else 0.0

    @property
    def spread(self) -> float:
        """The standard deviation of the codes about the mean of their channel, over all channels together."""
        if not self._count:
            return 0.0
        each = self._count / len(self._sums)
        variances = self._sums_of_squares / each - np.square(self._sums / each)
        return float(np.sqrt(max(float(variances.mean()), 0.0)))

    def __str__(self) -> str:
        if not self.spread:
            return f"codes that do not vary differ by up to {self.largest:.2g}"
        relative = f"up to {self.largest / self.spread:.2g} and {self.rms / self.spread:.2g} root mean square"
        return f"codes differ by {relative}, in standard deviations of the codes"


def halved(codes: Array) -> Array:
    """Codes as float16, rounded to the nearest; raises BadInput where they are too large for it."""
    with np.errstate(over="ignore", under="ignore"):
        half = codes.astype(np.float16)
    if not np.isfinite(half).all():
        raise BadInput("the codes hold numbers beyond float16, which ends at 65,504", "store them as int8 or float32")
    return half


def pack_codes(codes: Any, dtype: CodeType = "int8") -> dict[str, Array]:
    """Codes [N, c, *sides] in fewer bytes, as arrays by name, which `np.savez(FILE, **packed)` writes.

    float32 and float16 give `codes` of that type, float16 rounded to the nearest. int8 gives `codes` int8 [N, c, *sides],
    `scale` and `offset`, float32 [c]: a code is offset + scale * int8, and lies at most half a scale, and the rounding of
    float32, from what it was. Scales and offsets follow from the lowest and the highest number of each channel. Raises
    BadInput for another type, for what are no codes, for NaN and infinity, and for numbers beyond float16.
    """
    if dtype not in CODE_TYPES:
        raise BadInput(f"codes cannot be stored as {dtype!r}", f"there are {', '.join(CODE_TYPES)}")
    given = as_array(codes, "what is given as codes", "[N, c, *sides] numbers are needed")
    if given.dtype.kind not in "fiu" or given.ndim < 2:
        message = f"codes of shape {list(given.shape)} and type {given.dtype} cannot be packed"
        raise BadInput(message, "[N, c, *sides] numbers are needed")
    with np.errstate(over="ignore", under="ignore"):
        floats = given.astype(np.float32, copy=False)
    if not np.isfinite(floats).all():
        raise BadInput("the codes hold NaN, infinity or numbers beyond float32", "check what made them")
    if dtype == "float32":
        return {"codes": floats}
    if dtype == "float16":
        return {"codes": halved(floats)}
    limits = Limits(floats.shape[1])
    limits.add(floats)
    steps = limits.steps
    return {"codes": steps.rounded(floats), "scale": steps.scale, "offset": steps.offset}


def unpack_codes(packed: Mapping[str, Array]) -> Array:
    """Codes float32 [N, c, *sides] of what `pack_codes` gave, or of an opened .npz file of codes.

    Raises BadInput for arrays that are none, and for int8 codes without their scales.
    """
    return stored_codes(packed, "what is given").floats()


@dataclass(frozen=True)
class Stored:
    """Codes [N, c, *sides] as they lie in a file."""

    codes: Array
    steps: Steps | None = None  # of int8

    def __len__(self) -> int:
        return len(self.codes)

    def floats(self, part: slice = slice(None)) -> Array:
        """These rows as numbers for a decoder: float32 where they were packed, else as they are."""
        codes = self.codes[part]
        if self.steps is not None:
            return self.steps.undone(codes)
        return codes.astype(np.float32) if codes.dtype == np.float16 else codes


def stored_codes(arrays: Mapping[str, Array], name: str) -> Stored:
    """Codes of the arrays of a file: `codes`, else the first one; raises BadInput, in which `name` is that of the file."""
    if not len(arrays):
        raise BadInput(f"{name} holds no codes: there is no array", WRITE)
    codes = arrays["codes" if "codes" in arrays else next(iter(arrays))]
    if codes.dtype != np.int8:
        return Stored(codes)
    hint = "give the .npz that 'aepipe infer encode --code-dtype int8' wrote, which holds them"
    if codes.ndim < 2 or "scale" not in arrays or "offset" not in arrays:
        raise BadInput(f"{name} holds int8 codes of shape {list(codes.shape)} without their scale and offset", hint)
    steps = Steps(arrays["scale"], arrays["offset"])
    for each in (steps.scale, steps.offset):
        if each.shape != codes.shape[1:2] or each.dtype.kind != "f" or not np.isfinite(each).all():
            raise BadInput(
                f"scale and offset of the codes in {name} are not {codes.shape[1]} finite numbers each", hint
            )
    return Stored(codes, steps)


def load_codes(path: str, limit: int | None = None) -> Stored:
    """Codes from .npy (memory-mapped) or .npz (`codes`, else its first array); raises BadInput."""
    file = Path(path)
    if not file.exists():
        raise BadInput(f"there is no file {path!r}", "make codes with 'aepipe infer encode'")
    with reading(f"{path} holds no codes", WRITE):
        check_regular(file, WRITE)
        with file.open("rb") as head:
            known = head.read(4) in (b"\x93NUM", b"PK\x03\x04", b"PK\x05\x06")
        if not known:
            raise BadInput(f"{path} is neither .npy nor .npz", WRITE)
        loaded = np.load(file, mmap_mode="r", allow_pickle=False)
        arrays = {"codes": loaded} if isinstance(loaded, np.ndarray) else loaded
        stored = stored_codes(arrays, path)
        return Stored(stored.codes[:limit], stored.steps)
