"""What was taken as input and what was left out, for people and for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from aepipe.space import KINDS, Raw, times

COLOURS = {1: "grey", 3: "colour"}


@dataclass
class Taken:
    """Where images come from, and what of it was left out."""

    kind: str = "array"  # data set, folder, image file, image files, array file, array, objects
    origin: str = "of an array"  # how a sentence goes on behind "360 images"
    split: str | None = None  # the split that was read; None where there are none
    whole: int | None = None  # how many there were before a slice and a limit
    converted: bool = False  # images of any size and colour are cropped, resized and converted
    left_out: Counter[str] = field(default_factory=Counter)  # why → how many
    layout: str = ""  # how the axes of an array were taken, and its shape
    remarks: list[str] = field(default_factory=list)

    def sentence(self, name: str, count: int, shape: tuple[int, ...] | None, raw: Raw | None = None) -> str:
        """One line; without a shape the images keep their own sizes."""
        of = f" of {self.whole}" if self.whole not in (None, count) else ""
        kind = "image" if shape is None else KINDS[len(shape) - 1]
        noun = plural(count if not of else 2, kind)
        size, own = "", ", each at its own size"
        if shape is not None:
            size = f" {described(shape)}"
            size, own = ("", f", read as{size}") if self.converted else (size, "")
        split = f", {self.split} split" if self.split else ""
        more = "".join(f"; {each}" for each in (*self.remarks, self.omitted()) if each)
        values = "" if raw is None else f", {raw.dtype}, range {raw}"
        layout = f", layout {self.layout}" if self.layout else ""
        return printable(f"input: {name}, {count}{of}{size} {noun} {self.origin}{split}{own}{layout}{values}{more}")

    def omitted(self) -> str:
        """What was left out, and why; "" for nothing."""
        listing = ", ".join(f"{count} {why}" for why, count in self.left_out.items())
        return f"left out: {listing}" if listing else ""

    def record(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "kind": self.kind,
            "split": self.split,
            "of": self.whole,
            **({"layout": self.layout} if self.layout else {}),
            "left_out": dict(self.left_out),
            "remarks": self.remarks,
        }


def described(shape: tuple[int, ...]) -> str:
    """Colours and size of images, width first; of other samples channels and sides."""
    if len(shape) == 3:
        return f"{COLOURS.get(shape[0], f'{shape[0]}-channel')} {shape[2]}×{shape[1]}"
    return f"{shape[0]}-number" if len(shape) == 1 else f"{shape[0]}-channel {times(shape[1:])}"


def printable(text: str) -> str:
    """Text in which whatever could steer a terminal, or cannot be printed, is shown escaped."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"
