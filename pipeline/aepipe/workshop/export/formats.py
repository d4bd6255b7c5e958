"""Which graphs a bundle gets: lowered or not, in which precisions, for which images, and whole tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aepipe.arguments import is_one_of, real
from aepipe.bundle.manifest import IOS, PRECISIONS
from aepipe.errors import BadInput, closest


@dataclass
class Formats:
    """Options of export; raises BadInput for values that make no sense.

    lower: auto rewrites encoder and decoder so that they run faster (docs/lowering.md), none leaves them as torch exports them
    precision: fp32 always, and int8 (static; weights of 7 bits) or fp16 beside it; a sequence, or text with commas
    calibrate: images (a data string, a path, an array) whose training split finds the ranges for int8 and whose test split is
        what every precision is judged on; by default images that the run held out from training
    max_drop: by which share the mean squared error may rise in a precision other than fp32, or it is left out
    io: float always, and uint8 beside it: encoder and decoder for bytes, and whole tasks as one graph each (composing.py)
    overwrite: replace also a bundle that holds further precisions, or io, than the new one
    private: leave out what shows the training data: codes, labels, preview and the name of the data
    """

    lower: str = "auto"
    precision: str | Sequence[str] = "fp32"
    calibrate: Any = None
    max_drop: float = 0.01
    io: str | Sequence[str] = "float"
    overwrite: bool = False
    private: bool = False

    def __post_init__(self) -> None:
        if not is_one_of(self.lower, ("auto", "none")):
            raise BadInput(f"lower cannot be {self.lower!r}", "known: auto, none")
        self.precision = _listed("precision", self.precision, PRECISIONS)
        if self.calibrate is not None and not self.further:
            hint = f"known: {', '.join(PRECISIONS[1:])}"
            raise BadInput("images to calibrate with belong to a precision beside fp32, and none is asked for", hint)
        self.io = _listed("io", self.io, IOS)
        self.max_drop = real("max_drop", self.max_drop)
        if not (math.isfinite(self.max_drop) and self.max_drop >= 0):
            raise BadInput(f"max_drop must be 0 or more, not {self.max_drop}", "the default is 0.01, one percent")

    @classmethod
    def of(cls, options: Mapping[str, Any], others: Sequence[str] = ()) -> Formats:
        """From keyword arguments; raises BadInput for one that there is not, with a suggestion among these and `others`."""
        for name in options:
            if name not in cls.__dataclass_fields__:
                raise BadInput(f"export has no option {name!r}", closest(name, [*cls.__dataclass_fields__, *others]))
        return cls(**options)

    @property
    def further(self) -> tuple[str, ...]:
        """The precisions beside fp32."""
        return tuple(self.precision)[1:]

    @property
    def uint8(self) -> bool:
        """Whether graphs for bytes and for whole tasks are wanted."""
        return "uint8" in self.io


def _listed(what: str, given: str | Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The first of those known, and what was given beside it; raises BadInput for one that is not known."""
    if not isinstance(given, str | Sequence | set):
        raise BadInput(f"{what} cannot be {given!r}", f"known: {', '.join(known)}")
    names = [str(name).strip() for name in (given.split(",") if isinstance(given, str) else given)]
    for name in names:
        if name not in known:
            raise BadInput(f"unknown {what} {name!r}", closest(name, list(known)))
    return tuple(dict.fromkeys([known[0], *names]))
