"""Writes codes in the type in which they are to be stored, and measures what that costs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO

import numpy as np

from aepipe._types import Array
from aepipe.images.code_files import CodeType, Difference, Limits, Steps, halved
from aepipe.space import Sides

from .writers import ArrayWriter

BLOCK = 1 << 20  # about so many bytes of codes are packed at once


class CodeWriter(ArrayWriter):
    """Codes float32 [n, *row], streamed into one .npy or .npz of this type; int8 needs .npz.

    The steps of int8 follow from all codes. So these are first written as float32 to the temporary place, on the disk and not
    in memory, and packed at the end. `difference` then says how far the stored codes lie from those that were given.
    """

    def __init__(self, path: str | os.PathLike[str], row: Sides, code_dtype: CodeType):
        super().__init__(path, "codes", row, "float16" if code_dtype == "float16" else "float32")
        self.code_dtype, self.difference = code_dtype, Difference()
        self._limits = Limits(row[0] or 1)
        self._steps: Steps | None = None

    def write(self, rows: Array) -> None:
        """Appends codes; raises BadInput for numbers beyond float16."""
        if self.code_dtype == "float16":
            half = halved(rows)
            self.difference.add(rows, half)
            rows = half
        elif self.code_dtype == "int8":
            self._limits.add(rows)
        super().write(rows)

    def stored(self, codes: Array) -> Array:
        """Codes as they come back from the finished file, as float32."""
        if self._steps is not None:
            return self._steps.undone(self._steps.rounded(codes))
        return halved(codes).astype(np.float32) if self.code_dtype == "float16" else codes

    def _copy(self, out: IO[bytes]) -> None:
        if self.code_dtype != "int8":
            super()._copy(out)
            return
        self._steps = self._limits.steps
        shape = (self._rows, *self._shape)
        np.lib.format.write_array_header_1_0(out, {"descr": "|i1", "fortran_order": False, "shape": shape})
        for codes in self._blocks():
            packed = self._steps.rounded(codes)
            self.difference.add(codes, self._steps.undone(packed))
            out.write(packed.tobytes())

    def _beside(self) -> dict[str, Array]:
        steps = {} if self._steps is None else {"scale": self._steps.scale, "offset": self._steps.offset}
        return {**steps, **super()._beside()}

    def _blocks(self) -> Iterator[Array]:
        """The codes that were written, some at a time."""
        size = int(np.prod(self._shape)) * self._dtype.itemsize
        step = max(1, BLOCK // size)
        self._file.seek(self._start)
        for start in range(0, self._rows, step):
            count = min(step, self._rows - start)
            yield np.frombuffer(self._file.read(count * size), self._dtype).reshape(count, *self._shape)
