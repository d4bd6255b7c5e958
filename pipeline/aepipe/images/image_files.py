"""Images that are files: what their headers say, and reading them in threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from aepipe._types import ImageShape, Shape
from aepipe.errors import BadInput
from aepipe.process import cores

from .decoding import ENDINGS, channels_and_size, read_image, rough_header
from .quiet import quiet

Wish = tuple[int | None, int | None, int | None]  # channels, height, width; for None the files decide
READ_ELSEWHERE = {".tif", ".tiff"}  # also holds what only a reader of a plugin takes
TINY = 1024  # a file of so few bytes is decoded in less time than it takes to open it


def open_files(root: Path, paths: list[str], wish: Wish) -> tuple[FileImages, list[str]]:
    """Image files with the channels, height and width of `wish`, and what is to be said about them.

    Where the wish has no size, the first readable file decides; where it has no channels, all files are looked at, and one
    in colour makes colour of all.
    """
    channels, height, width = wish
    remarks: list[str] = []
    with quiet():
        if height is None or width is None:
            own, height, width = _first_shape(root, paths)
            if channels is None or len(paths) > 1:
                found, remarks = _survey(root, paths, (own, height, width), wish)
                channels = found if channels is None else channels
        elif channels is None:
            channels, remarks = _survey(root, paths, None, wish)
    assert channels is not None
    return FileImages(root, paths, (channels, height, width), None not in wish[1:], wish[0]), remarks


def is_plain(path: Path) -> bool:
    """Whether a file is an image that is read without a plugin, or claims to be one and is damaged or too large."""
    if path.suffix.lower() not in READ_ELSEWHERE:
        return path.suffix.lower() in ENDINGS
    try:
        with quiet():
            rough_header(path)
    except BadInput:
        return False
    return True


def _first_shape(root: Path, paths: list[str]) -> ImageShape:
    errors = []
    for path in paths:
        try:
            return channels_and_size(root / path)
        except BadInput as error:  # reading the images reports this file later, or skips it
            errors.append(error)
    raise errors[0]


def _survey(root: Path, paths: list[str], first: ImageShape | None, wish: Wish) -> tuple[int, list[str]]:
    """The channels of all files together, and remarks on files of other colours and of other sizes than the first."""
    kinds, others, error = {1: 0, 3: 0}, 0, None
    for path in paths:
        try:
            channels, height, width = rough_header(root / path)
        except BadInput as bad:
            error = error or bad
            continue
        kinds[channels] += 1
        others += first is not None and sorted((height, width)) != sorted(first[1:])
    if error and not any(kinds.values()):
        raise error
    remarks = []
    if all(kinds.values()):
        taken = "grey" if wish[0] == 1 else "colour"
        remarks.append(f"{kinds[3]} of the files are in colour and {kinds[1]} grey, all are read as {taken}")
    if others:
        remarks.append(f"{others} of the files {'have' if others > 1 else 'has'} another size")
    return (3 if kinds[3] else 1), remarks


class FileImages:
    """Image files read by index, each cropped to the centre and resized to `shape`.

    With `resize` off every file must have the size of `shape` already (EXIF orientation applied). `channels` are those that were
    asked for.
    """

    def __init__(
        self, root: Path, paths: list[str], shape: ImageShape, resize: bool = True, channels: int | None = None
    ):
        if shape[0] not in (1, 3):
            raise BadInput(f"image files have 1 or 3 channels, not {shape[0]}", "give the images as a .npy array")
        self.root, self.paths, self.shape, self.resize, self.channels = root, paths, shape, resize, channels
        self.dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """uint8 [n,C,H,W]; raises BadInput that names the first file that cannot be used."""
        files = [self.root / self.paths[i] for i in indices]
        read = lambda i: read_image(files[i], self.shape, self.resize)  # noqa: E731
        return decode_all(len(files), self.shape, read, useful_threads(files))

    def read_whole(self, index: int) -> np.ndarray:
        """One file at its own size, in the colours that were asked for or in its own: uint8 [C,H,W]; raises BadInput that names
        it."""
        path = self.root / self.paths[index]
        with quiet():
            own, height, width = channels_and_size(path)
            return read_image(path, (self.channels or own, height, width), resize=False)


def decode_all(
    count: int, shape: Shape, read: Callable[[int], np.ndarray], threads: int = 1, dtype: Any = np.uint8
) -> np.ndarray:
    """`read(0)`, `read(1)`, … in threads as [count, *shape] of this type; raises the first one's BadInput."""
    images = np.empty((count, *shape), dtype)
    _fill(images, read, threads)
    return images


def decode_each(count: int, read: Callable[[int], np.ndarray], threads: int = 1) -> list[np.ndarray]:
    """The same of images that need not have one shape."""
    images: list[Any] = [None] * count
    _fill(images, read, threads)
    return images


def _fill(images: Any, read: Callable[[int], np.ndarray], threads: int) -> None:
    """Put `read(i)` into `images[i]`, in threads; raises the first one's BadInput."""

    def decode(share: range) -> tuple[int, BadInput] | None:
        for i in share:
            try:
                images[i] = read(i)
            except BadInput as error:
                return i, error
        return None

    shares = [range(k, len(images), threads) for k in range(threads)]
    with quiet():
        bad = [each for each in (_pool().map(decode, shares) if threads > 1 else map(decode, shares)) if each]
    if bad:
        raise min(bad, key=lambda each: each[0])[1]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="aepipe-decode")


if hasattr(os, "register_at_fork"):  # a child has none of the threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def useful_threads(files: Sequence[str | Path]) -> int:
    """How many threads help. Opening a file holds Python's lock and decoding does not, so tiny files need few threads."""
    try:
        size = Path(files[len(files) // 2]).stat().st_size
    except (OSError, IndexError, ValueError):
        size = 0
    return max(1, min(cores(), len(files), size // TINY))
