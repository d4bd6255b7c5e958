"""How many bits a pixel takes when its image is stored as a code."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from aepipe._types import Array
from aepipe.images.code_files import CODE_TYPES
from aepipe.space import Size


class Rate:
    """Counts the numbers of codes, which are maps, and the pixels of their samples.

    A pixel is a position of a sample, whatever its channels. Samples count as they were read. Codes count as they are stored:
    where sides are open, those of the next multiple, because samples are padded to it. There are `code_multiple` positions of a
    code for each `multiple` of a sample.
    """

    def __init__(self, code: Size, multiple: int, code_multiple: int = 1):
        self.code, self.multiple, self.code_multiple = code, multiple, code_multiple
        self._numbers, self._pixels = 0, 0

    def add(self, count: int, sides: Sequence[int]) -> None:
        """Counts samples of these sides."""
        first, *own = self.code.shape
        steps = [math.ceil(given / self.multiple) for given in sides]
        stored = [side or step * self.code_multiple for side, step in zip(own, steps, strict=True)]
        self._numbers += count * (first or 1) * math.prod(stored)
        self._pixels += count * math.prod(sides)

    def counting(self, reconstruct: Callable[[Array], Array]) -> Callable[[Array], Array]:
        """The same function of samples [n, C, *sides], which also counts them."""

        def counted(samples: Array) -> Array:
            self.add(len(samples), samples.shape[2:])
            return reconstruct(samples)

        return counted

    @property
    def bits_per_pixel(self) -> dict[str, float]:
        """Bits for each pixel, by the type in which codes are stored, without what a file has beside them."""
        return {dtype: self._numbers * 8 * np.dtype(dtype).itemsize / self._pixels for dtype in CODE_TYPES}
