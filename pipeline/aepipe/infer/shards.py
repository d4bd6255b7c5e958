"""Splits one job over many machines: shard I of N computes its block of the input, and the parts are joined afterwards.

The shards do not need each other, and the joined result equals that of a single run. If OUT is a folder, all shards write
their images into it. If OUT is a file such as codes.npy, shard 3 of 8 writes the part codes.3-of-8.npy, and `join` makes
codes.npy from all eight parts.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import IO, Any, NamedTuple

import numpy as np

from aepipe.errors import BadInput
from aepipe.files.out import PICTURES, output_kind
from aepipe.files.regular import check_regular
from aepipe.files.staged import replacing
from aepipe.progress import say

from .writers import ArrayWriter

BLOCK = 1 << 20  # so many random numbers are skipped at once, and so many bytes are copied at once


class Shard(NamedTuple):
    """Part `number` (1 to `of`) of a job that is cut into `of` parts."""

    number: int
    of: int

    def part(self, total: int) -> range:
        """This shard's block of `total` indices. The sizes of the shards differ by at most one; a block may be empty."""
        return range(total * (self.number - 1) // self.of, total * self.number // self.of)

    def named(self, out: str) -> str:
        """The name of this shard's part of a file OUT: codes.npy gives codes.3-of-8.npy; "-", which is stdout, stays."""
        path = PurePath(out)
        return out if out == "-" else str(path.with_name(f"{path.stem}.{self.number}-of-{self.of}{path.suffix}"))


def part_of(total: int, shard: Shard | None) -> range:
    """The indices that a run computes: all of `total`, or the block of its shard."""
    return range(total) if shard is None else shard.part(total)


class Out(NamedTuple):
    """Where a run writes: OUT itself, or the part of it that is this shard's."""

    path: str
    kind: str  # as `output_kind` gives it
    shard: Shard | None = None

    @property
    def part(self) -> str:
        """Which part of a folder OUT this run makes; "" for all of it."""
        return "" if self.shard is None else f"{self.shard.number}/{self.shard.of}"


def place(out: str, allowed: tuple[str, ...], shard: Shard | None = None) -> Out:
    """Where this run writes. A shard writes to OUT itself if that is a folder, and to a part of its own if it is a file.

    Raises BadInput for an OUT that cannot be written, or cannot be split over shards.
    """
    if shard is None or not out:
        return Out(out, output_kind(out, allowed), shard)
    ending = PurePath(out).suffix.lower()
    if ending in PICTURES and "png" in allowed:
        raise BadInput(f"{out} is one picture, which cannot be made in shards", "write a folder, .npy, .npz or .csv")
    is_folder = out != "-" and (out.endswith(("/", os.sep)) or not ending)
    if is_folder and "folder" in allowed:
        # output_kind refuses a folder that is not empty, but OUT may hold images of other shards already. So a new folder
        # inside OUT is checked instead; it is never made.
        inside = Path(out, f"shard-{shard.number}-of-{shard.of}")
        return Out(out, output_kind(f"{inside}/", allowed), shard)
    path = out if is_folder else shard.named(out)
    return Out(path, output_kind(path, allowed), shard)


def drawn(seed: int, features: int, part: range, batch_size: int) -> Iterator[np.ndarray]:
    """Yield the rows `part` of the standard normal noise [N, features] that `seed` gives, as float32, in batches.

    The rows before `part` are drawn and thrown away. The generator cannot jump over them, because NumPy takes a varying number
    of random bits for each normal number.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, part.start * features, BLOCK):
        rng.standard_normal(min(BLOCK, part.start * features - start), dtype=np.float32)
    for start in part[::batch_size]:
        yield rng.standard_normal((min(batch_size, part.stop - start), features), dtype=np.float32)


def join(out: str) -> int:
    """Write OUT (.npy, .npz or .csv) from the parts beside it, block by block; returns how many parts there are.

    The parts are kept. Raises BadInput for a part that is missing, damaged or from another job.
    """
    ending = PurePath(out).suffix.lower()
    if ending not in (".npy", ".npz", ".csv"):
        what = "a folder needs no joining: its shards write to it" if not ending else f"{ending} files have no parts"
        raise BadInput(f"{out} cannot be joined: {what}", "give the OUT of the shards: .npy, .npz or .csv")
    output_kind(out, (ending[1:],))
    parts = find_parts(Path(out))
    try:
        (_join_tables if ending == ".csv" else _join_arrays)(Path(out), parts)
    except OSError as error:  # it is from reading: the writers report their own errors
        name = error.filename or "a part"
        raise BadInput(f"{name} cannot be read: {error.strerror or error}", "check its permissions") from None
    return len(parts)


def find_parts(out: Path) -> list[Path]:
    """All parts of OUT, in order; raises BadInput that names a part that is missing or belongs to another split."""
    pattern = re.compile(rf"{re.escape(out.stem)}\.(\d+)-of-(\d+){re.escape(out.suffix)}")
    listing = list(out.parent.iterdir()) if out.parent.is_dir() else []
    found = {Shard(int(m[1]), int(m[2])): path for path in listing if (m := pattern.fullmatch(path.name))}
    if not found:
        raise BadInput(f"there are no parts of {out}", f"--shard 1/8 writes {Shard(1, 8).named(out.name)}, and so on")
    first = min(found)
    for shard, path in sorted(found.items()):
        if shard.of != first.of or not 1 <= shard.number <= shard.of or path.name != shard.named(out.name):
            message = f"{path.name} and {found[first].name} are not parts of one job"
            raise BadInput(message, "remove what does not belong to it")
    missing = [shard for number in range(1, first.of + 1) if (shard := Shard(number, first.of)) not in found]
    if missing:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        message = f"{missing[0].named(out.name)}{more} of the {first.of} parts of {out} is missing"
        raise BadInput(message, f"run it: --shard {missing[0].number}/{first.of}")
    for path in found.values():
        check_regular(path, "run that shard again")
    return [found[shard] for shard in sorted(found)]


class Rows(NamedTuple):
    """An open part; the next bytes of `file` are its rows."""

    file: IO[bytes]
    name: str
    key: str
    length: int
    row: tuple[int, ...]
    dtype: np.dtype[Any]
    indices: np.ndarray | None  # of the images that the rows belong to
    names: np.ndarray | None  # of these images, where they are files

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the rows, about a megabyte at a time."""
        size = max(1, math.prod(self.row) * self.dtype.itemsize)
        step = max(1, BLOCK // size)
        for start in range(0, self.length, step):
            count = min(step, self.length - start)
            data = self.file.read(count * size)
            if len(data) < count * size:
                raise BadInput(f"{self.name} is truncated", "run that shard again")
            yield np.frombuffer(data, self.dtype).reshape(count, *self.row)


def _join_arrays(out: Path, paths: list[Path]) -> None:
    with ExitStack() as stack:
        parts = [_open_rows(path, stack) for path in paths]
        first = parts[0]
        for part in parts:
            if (part.key, part.row, part.dtype) != (first.key, first.row, first.dtype):
                message = f"{part.name} holds {_what(part)}, but {first.name} {_what(first)}: they are not of one job"
                raise BadInput(message, "run the shards of one job again")
        total = sum(part.length for part in parts)
        for number, part in enumerate(parts, 1):
            due = len(Shard(number, len(parts)).part(total))
            if part.length != due:
                say(
                    f"note: {part.name} has {part.length} rows where an even split has {due}: were bad images left out?"
                )
                break
        with ArrayWriter(out, first.key, first.row, first.dtype) as writer:
            labelled = all(part.indices is not None for part in parts if part.length)
            for part in parts:
                if labelled and part.length:
                    writer.label(part.indices, part.names)
                for rows in part.blocks():
                    writer.write(rows)


def _what(part: Rows) -> str:
    return f"{part.key} {part.dtype} [{', '.join(map(str, ('N', *part.row)))}]"


def _open_rows(path: Path, stack: ExitStack) -> Rows:
    """Open a part that ArrayWriter wrote, and read all that comes before its rows."""
    try:
        key, more = "", {}
        file: Any = stack.enter_context(path.open("rb"))
        if path.suffix.lower() == ".npz":
            archive = stack.enter_context(zipfile.ZipFile(file))
            key, *labels = archive.namelist()
            more = {name: np.lib.format.read_array(archive.open(name), allow_pickle=False) for name in labels}
            file = stack.enter_context(archive.open(key))
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("not as aepipe writes arrays")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if fortran or not shape or dtype.hasobject:
            raise ValueError("not as aepipe writes arrays")
    except (ValueError, zipfile.BadZipFile, EOFError):
        raise BadInput(f"{path.name} holds no array that a shard wrote", "run that shard again") from None
    return Rows(
        file,
        path.name,
        key.removesuffix(".npy"),
        shape[0],
        tuple(shape[1:]),
        dtype,
        more.get("indices.npy"),
        more.get("names.npy"),
    )


def _join_tables(out: Path, paths: list[Path]) -> None:
    """Write the header once, then the lines of all parts. The first column, the index, must grow from part to part."""
    header, last = b"", -1
    with replacing(out) as temporary, temporary.open("wb") as joined:
        for path in paths:
            with path.open("rb") as file:
                own, line = file.readline(), file.readline()
                if path == paths[0]:
                    header = own
                    joined.write(header)
                index = line.partition(b",")[0]
                if own != header or (line and not (index.isdigit() and int(index) > last)):
                    message = f"{path.name} does not go on where the parts before it end: it is not of their job"
                    raise BadInput(message, "run the shards of one job again")
                last = int(index) if line else last
                joined.write(line)
                shutil.copyfileobj(file, joined, BLOCK)
