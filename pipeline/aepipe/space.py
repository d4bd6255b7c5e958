"""What a sample is, [N, C, *sides] with 0 to 3 sides, and what a code is: a vector or a map."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from msgspec import Meta

from aepipe.errors import BadInput

Kind = Literal["row", "signal", "image", "volume"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # by the number of sides

Sides = tuple[int | None, ...]  # the same; None is a side of any size, or any multiple of what the networks ask for

DTYPES = (
    "bool",
    *(f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64)),
    "float16",
    "float32",
    "float64",
)
AXES = {"row": "NC", "signal": "NCL", "image": "NCHW", "volume": "NCDHW"}


@dataclass(frozen=True)
class Space:
    """What a model takes and gives: samples of one kind and shape."""

    kind: Kind
    shape: Sides

    def __post_init__(self) -> None:
        """Raises ValueError for a shape that is not of the kind."""
        if len(self.shape) != KINDS.index(self.kind) + 1:
            raise ValueError(f"{list(self.shape)} is no shape of a {self.kind}: {AXES[self.kind][1:]} is needed")

    @classmethod
    def of(cls, shape: Sides) -> Self:
        """The space of samples [C, *sides]. Raises ValueError for more than three sides, or no channel."""
        if not 1 <= len(shape) <= len(KINDS):
            raise ValueError(f"{list(shape)} is no shape of samples: channels and 0 to 3 sides are needed")
        return cls(KINDS[len(shape) - 1], tuple(shape))

    @property
    def channels(self) -> int:
        assert self.shape[0] is not None  # channels are always known
        return self.shape[0]

    @property
    def sides(self) -> Sides:
        return self.shape[1:]

    @property
    def fixed(self) -> bool:
        """Whether every side has one size."""
        return None not in self.shape

    def sized(self, what: str, hint: str) -> tuple[int, int, int]:
        """C, H, W of images of one size; raises BadInput, which says that `what` needs them, for anything else."""
        if self.kind != "image" or not self.fixed:
            noun = f"{self.kind}s" if self.fixed else "images of any size"
            raise BadInput(f"{what} needs images of one size, and these are {noun}", hint)
        channels, height, width = (int(side or 0) for side in self.shape)
        return channels, height, width

    @property
    def axes(self) -> str:
        """The names of the axes of a batch: NC, NCL, NCHW or NCDHW."""
        return AXES[self.kind]

    def __str__(self) -> str:
        return times(self.shape)


class Size(int):
    """How many numbers a code has, or an encoder makes: an int, with the shape in which they stand.

    Factories of encoders and decoders get it as `features` and `latent`. Of a vector code the shape is (n,), of a spatial code
    (c, *sides); the sides of a code without a fixed size are None, and the number is then that of one position, c.
    """

    shape: Sides

    def __new__(cls, *shape: int | None) -> Self:
        size = super().__new__(cls, math.prod(side for side in shape if side is not None))
        size.shape = shape
        return size

    @classmethod
    def of(cls, given: Any) -> Self:
        """From what a record holds: a number, or the numbers of a shape."""
        return cls(*given) if isinstance(given, list | tuple) else cls(int(given))

    @property
    def fixed(self) -> bool:
        """Whether codes have one size."""
        return None not in self.shape

    @property
    def spatial(self) -> bool:
        return len(self.shape) > 1

    @property
    def record(self) -> int | list[int | None]:
        """What a record holds of it."""
        return list(self.shape) if self.spatial else int(self)

    def times(self, factor: int) -> Size:
        """So many channels more, of the same sides."""
        first, *sides = self.shape
        return type(self)((first or 1) * factor, *sides)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a code has this shape."""
        return fits(self.shape, shape)

    @property
    def batch(self) -> str:
        """[N, 8], or [N, 4, 16, 16]: the shape of codes, for messages."""
        return listed((None, *self.shape)).replace("any", "N", 1)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.shape

    def __str__(self) -> str:
        return times(self.shape)

    def __format__(self, spec: str) -> str:
        return super().__format__(spec) if spec else str(self)


@dataclass(frozen=True, kw_only=True)
class Raw:
    """The values that users have, where they are not bytes or floats in 0..1."""

    dtype: Annotated[str, Meta(description="NumPy's name of their type, such as uint16; results have it too.")]
    range: Annotated[
        tuple[float, float] | None,
        Meta(description="The raw values that are 0 and 1 in the graphs; null: they go in and out as they are."),
    ] = None
    clip: Annotated[bool, Meta(description="Whether values outside the range become its nearer end.")] = False

    def __post_init__(self) -> None:
        """Raises ValueError for a type that holds no real numbers, and for a range that is none."""
        if self.dtype not in DTYPES:
            raise ValueError(f"{self.dtype!r} is no type of raw values")
        if self.range is not None and not (all(map(math.isfinite, self.range)) and self.range[0] < self.range[1]):
            raise ValueError(f"a range goes from a lower to a higher number, not {list(self.range)}")

    def __str__(self) -> str:
        return "unbounded" if self.range is None else f"{self.range[0]:g}..{self.range[1]:g}"


def is_bounded(raw: Raw | None) -> bool:
    """Whether values lie in 0..1 in the graphs: bytes, floats in 0..1, and raw values that have a range."""
    return raw is None or raw.range is not None


def fits(wanted: Sides, shape: tuple[int, ...]) -> bool:
    """Whether samples of this shape are what is wanted, where a side that is None may have any size."""
    return len(wanted) == len(shape) and all(a in (None, b) for a, b in zip(wanted, shape, strict=True))


def listed(shape: Sides) -> str:
    """[3, 28, 28]; a side of any size is written any."""
    return f"[{', '.join('any' if side is None else str(side) for side in shape)}]"


def times(shape: Sides) -> str:
    """3×28×28; a side of any size is written any."""
    return "×".join("any" if side is None else str(side) for side in shape)


def in_short(space: Space, code: Size, densities: Collection[str]) -> str:
    """What a model takes and has, in one line: images 1×28×28, code 8, densities gaussian, pca."""
    return f"{space.kind}s {space}, code {code}, densities {', '.join(densities) or 'none'}"
