"""Reading the simplest TIFF files directly: one grey page in strips, as it is or deflated, without parsing what nobody needs.

Cameras and programs write such files by the thousand. tifffile takes ten times longer for one than the system takes to read it,
and holds Python's lock for nearly all of it, so that threads do not help. Whatever is not as simple as this is left to tifffile.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import IO, NamedTuple

import numpy as np

WINDOW = 4096  # bytes that are read at once: the tags of a simple file lie in so many
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION = 256, 257, 258, 259, 262, 270
OFFSETS, ROWS, COUNTS, SOFTWARE, FORMAT = 273, 278, 279, 305, 339
# Tags that may stand in a simple file beside those above: what they have to say for it to be one, or None if that does not matter.
OTHERS: dict[int, int | None] = {
    254: 0,  # a page as such, neither a thumbnail nor a mask
    266: 1,  # bits from the highest
    274: 1,  # upright
    277: 1,  # samples of a pixel
    282: None,  # resolutions, and their unit
    283: None,
    284: 1,  # planes
    296: None,
    306: None,  # date, artist, computer
    315: None,
    316: None,
    317: 1,  # no predictor
}
NUMBERS = {3: ("H", 2), 4: ("I", 4)}  # the types of numbers, and their bytes
DEFLATE = (8, 32946)
TYPES = {1: "u", 2: "i", 3: "f"}
SEVERAL = re.compile(
    rb"images|channels|slices|frames|hyperstack"
)  # of ImageJ, of a file that may be more than one image
OWN_SERIES = (b"SI.", b"Indica", b"PerkinElmer")  # programs that have an arrangement of pages of their own
RATIO = 1032  # to one, at most, is what deflate compresses


class Tag(NamedTuple):
    """One entry of a page's table."""

    kind: int  # of the values
    count: int
    place: bytes  # the values, where they fit into four bytes, or where they lie


class Unplain(Exception):
    """The file is not as simple as that."""


def plain_page(path: str) -> np.ndarray | None:
    """The numbers [Y, X] of a file with one simple page, in the machine's order of bytes; None for every other file, also for
    one that is damaged."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  # a Path takes longer
            return _Page(file).read()
    except (Unplain, struct.error, zlib.error, OSError):
        return None


class _Page:
    """The table of a file's first page, which has to be its only one."""

    def __init__(self, file: IO[bytes]):
        self.file = file
        self.window, self.start = file.read(WINDOW), 0
        self.order = {b"II*\0": "<", b"MM\0*": ">"}.get(self.window[:4], "")
        if not self.order:
            raise Unplain
        (table,) = struct.unpack_from(f"{self.order}I", self.window, 4)
        (entries,) = struct.unpack(f"{self.order}H", self._at(table, 2))
        content = self._at(table + 2, 12 * entries + 4)
        if content[-4:] != bytes(4):  # another page follows
            raise Unplain
        self.tags = {
            code: Tag(kind, count, place)
            for code, kind, count, place in struct.iter_unpack(f"{self.order}HHI4s", content[:-4])
        }
        if len(self.tags) != entries:
            raise Unplain

    def _at(self, offset: int, size: int) -> bytes:
        """So many bytes of the file, from those that were read already if they are among them."""
        at = offset - self.start
        if not 0 <= at <= len(self.window) - size:
            self.file.seek(offset)
            self.window, self.start, at = self.file.read(max(WINDOW, size)), offset, 0
        found = self.window[at : at + size]
        if len(found) != size:
            raise Unplain
        return found

    def _numbers(self, code: int) -> tuple[int, ...]:
        tag = self.tags[code]
        if tag.kind not in NUMBERS:
            raise Unplain
        letter, size = NUMBERS[tag.kind]
        total = size * tag.count
        if total <= 4:
            return struct.unpack_from(f"{self.order}{tag.count}{letter}", tag.place)
        (offset,) = struct.unpack(f"{self.order}I", tag.place)
        return struct.unpack(f"{self.order}{tag.count}{letter}", self._at(offset, total))

    def _number(self, code: int, default: int | None = None) -> int:
        if code not in self.tags:
            if default is None:
                raise Unplain
            return default
        if self.tags[code].count != 1:
            raise Unplain
        return self._numbers(code)[0]

    def _text(self, code: int) -> bytes:
        if code not in self.tags:
            return b""
        kind, count, place = self.tags[code]
        if kind != 2 or count > WINDOW:
            raise Unplain
        value = place[:count] if count <= 4 else self._at(struct.unpack(f"{self.order}I", place)[0], count)
        return value.rstrip(b"\0")

    def read(self) -> np.ndarray:
        """The numbers of the page; raises Unplain, and what the parts of a damaged file make struct and zlib raise."""
        height, width = self._number(HEIGHT), self._number(WIDTH)
        self._check(height, width)
        dtype = self._dtype()
        rows = min(self._number(ROWS, height), height)
        offsets, counts = self._numbers(OFFSETS), self._numbers(COUNTS)
        if not height or not width or not rows or not (len(offsets) == len(counts) == -(-height // rows)):
            raise Unplain
        line = width * dtype.itemsize
        wanted = [min(rows, height - row) * line for row in range(0, height, rows)]
        compression = self._number(COMPRESSION, 1)
        if compression == 1:
            content = self._stored(offsets, counts, wanted)
        elif compression in DEFLATE:
            content = self._inflated(offsets, counts, wanted)
        else:
            raise Unplain
        return content.view(dtype).reshape(height, width).astype(dtype.newbyteorder("="), copy=False)

    def _check(self, height: int, width: int) -> None:
        """Raise Unplain where a tag says something that is not understood here."""
        read = {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION, OFFSETS, ROWS, COUNTS, SOFTWARE, FORMAT}
        for code in self.tags.keys() - read:
            if code not in OTHERS:
                raise Unplain
            if (meant := OTHERS[code]) is not None and self._number(code) != meant:
                raise Unplain
        if self._number(PHOTOMETRIC) > 1:  # neither black nor white is 0
            raise Unplain
        text = self._text(DESCRIPTION)
        own = b'{"shape": [%d, %d]' % (height, width)  # of tifffile
        of_imagej = text.startswith(b"ImageJ=") and not SEVERAL.search(text)
        if not (text in (b"", own + b"}", own + b', "axes": "YX"}') or of_imagej):
            raise Unplain
        if self._text(SOFTWARE).startswith(OWN_SERIES):
            raise Unplain

    def _dtype(self) -> np.dtype:
        bits, kind = self._number(BITS), TYPES.get(self._number(FORMAT, 1), "")
        if not kind or bits not in (8, 16, 32, 64) or (kind, bits) == ("f", 8):
            raise Unplain
        return np.dtype(f"{self.order}{kind}{bits // 8}")

    def _stored(self, offsets: tuple[int, ...], counts: tuple[int, ...], wanted: list[int]) -> np.ndarray:
        ends = [offset + count for offset, count in zip(offsets, counts, strict=True)]
        if list(counts) != wanted or list(offsets[1:]) != ends[:-1]:
            raise Unplain
        content = np.empty(sum(wanted), np.uint8)
        self.file.seek(offsets[0])
        if self.file.readinto(content) != len(content):  # type: ignore[attr-defined]
            raise Unplain
        return content

    def _inflated(self, offsets: tuple[int, ...], counts: tuple[int, ...], wanted: list[int]) -> np.ndarray:
        ends = max(map(sum, zip(offsets, counts, strict=True)))
        if sum(wanted) > RATIO * sum(counts) or ends > self.file.seek(0, 2):  # the file ends too early
            raise Unplain
        content, at = np.empty(sum(wanted), np.uint8), 0
        for offset, count, size in zip(offsets, counts, wanted, strict=True):
            self.file.seek(offset)
            stream = zlib.decompressobj()
            found = stream.decompress(self.file.read(count), size + 1)  # no more, whatever a hostile file would give
            if len(found) != size or not stream.eof:
                raise Unplain
            content[at : at + size] = np.frombuffer(found, np.uint8)
            at += size
        return content
