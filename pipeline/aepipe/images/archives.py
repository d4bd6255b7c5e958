"""Archives of arrays (.npz): which of them are the images, which the labels, and reading those alone."""

from __future__ import annotations

import math
import zipfile
from typing import IO, Any, NamedTuple

import numpy as np

from aepipe.errors import BadInput, closest

from .arrays import LAYOUTS
from .splits import words_of

IMAGES = {"images", "image", "x", "data", "imgs", "img"}
LABELS = {"labels", "label", "y", "targets", "target", "classes"}
NAMED = 8  # so many arrays are named in a message


class Loaded(NamedTuple):
    """What an array file holds."""

    images: np.ndarray  # as they are stored
    labels: np.ndarray | None = None
    array: str | None = None  # the name of the array in an archive
    split: str | None = None  # where the names of an archive's arrays tell splits apart
    others: tuple[str, ...] = ()  # arrays of images that were left out
    total: int | None = None  # how many images there are, where that is more than were read


class Wanted(NamedTuple):
    """Which arrays of an archive are read, and how many rows."""

    split: str = "test"
    member: str | None = None
    rows: int | None = None


class Member(NamedTuple):
    """An array of an archive, of which only the header has been read."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    split: str | None  # train, test, validation, or None
    words: list[str]  # the other words of the name

    @property
    def may_be_images(self) -> bool:
        return len(self.shape) in (3, 4) and self.dtype.kind in "biufc" and not set(self.words) & LABELS

    @property
    def is_named_images(self) -> bool:
        return bool(set(self.words) & IMAGES) or not self.words

    def __str__(self) -> str:
        return f"{self.name} {list(self.shape)}"


def load_archive(archive: zipfile.ZipFile, path: str, wanted: Wanted) -> Loaded:
    """The images of an archive and their labels; raises BadInput where it does not say which array is meant."""
    members = _members(archive)
    if not members:
        inside = len(archive.namelist())
        raise BadInput(f"{path} is an archive of {inside} files and no array", "unpack it, and give the folder")
    image = _chosen(members, path, wanted)
    images = _read(archive, image, wanted.rows)
    others = [each for each in members if each is not image]
    named = [each for each in others if set(each.words) & LABELS and each.split == image.split]
    label = next((each for each in named if math.prod(each.shape) == len(images) == each.shape[0]), None)
    if label is None and wanted.rows is not None:
        label = next((each for each in named if math.prod(each.shape) == image.shape[0] == each.shape[0]), None)
    labels = None if label is None else _read(archive, label, wanted.rows).reshape(-1)
    left = tuple(str(each) for each in others if each is not label and each.may_be_images)
    split = image.split if {each.split for each in members if each.may_be_images} != {None} else None
    return Loaded(images, labels, image.name, split, left, image.shape[0])


def _members(archive: zipfile.ZipFile) -> list[Member]:
    found = []
    for name in archive.namelist():
        if name.endswith(".npy"):
            with archive.open(name) as file:
                shape, _, dtype = read_header(file)
            stem = name.removesuffix(".npy")
            found.append(Member(stem, shape, dtype, *words_of(stem)))
    return found


def _chosen(members: list[Member], path: str, wanted: Wanted) -> Member:
    named = {each.name: each for each in members}
    if wanted.member is not None:
        if wanted.member not in named:
            raise BadInput(f"{path} has no array {wanted.member!r}", closest(wanted.member, sorted(named)))
        return named[wanted.member]
    if "images" in named and named["images"].dtype.hasobject:
        raise BadInput(f"'images' in {path} holds Python objects", "save a numeric array")
    candidates = [each for each in members if each.may_be_images]
    if not candidates:
        hint = f"{LAYOUTS}; name the array 'images'"
        raise BadInput(f"{path} holds no images, but {_listing(members)}", hint)
    if "images" in named and all(each.split is None for each in candidates):
        return named["images"] if named["images"] in candidates else _refuse(path, candidates)
    splits = [each for each in candidates if each.split is not None]
    if splits and any(each.is_named_images for each in candidates if each.split is None):
        _refuse(path, candidates)
    if splits:
        candidates = [each for each in splits if each.split == wanted.split]
        if not candidates:
            other = "train" if wanted.split == "test" else "test"
            there = any(each.split == other for each in splits)
            way_out = f"--split {other}, or " if there else ""
            message = f"{path} has no images of the {wanted.split} split, but {_listing(splits)}"
            raise BadInput(message, f"{way_out}name an array: FILE.npz[{splits[0].name}]")
    if len(candidates) > 1:
        candidates = [each for each in candidates if each.is_named_images] or candidates
    return candidates[0] if len(candidates) == 1 else _refuse(path, candidates)


def _refuse(path: str, candidates: list[Member]) -> Member:
    message = f"{path} does not say which of its arrays are the images: {_listing(candidates)}"
    raise BadInput(message, f"name one: FILE.npz[{candidates[0].name}]")


def _listing(members: list[Member]) -> str:
    more = f" and {len(members) - NAMED} more" if len(members) > NAMED else ""
    return ", ".join(map(str, members[:NAMED])) + more


def _read(archive: zipfile.ZipFile, member: Member, rows: int | None) -> np.ndarray:
    with archive.open(f"{member.name}.npy") as file:
        return first_rows(file, rows)


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """(shape, whether columns come first, type) of an array in NumPy's format; the values come next in the file."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version in ((2, 0), (3, 0)):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"version {version} of NumPy's format is not known")


def first_rows(file: IO[bytes], rows: int | None) -> np.ndarray:
    """An array in NumPy's format, or its first rows alone."""
    shape, columns_first, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    count = shape[0] if shape else 1
    if rows is None or columns_first or not shape:
        rows = count
    kept = (min(rows, count), *shape[1:]) if shape else ()
    data = file.read(math.prod(kept) * dtype.itemsize)
    if len(data) < math.prod(kept) * dtype.itemsize:
        raise ValueError(f"it ends after {len(data):,} bytes of its values")
    array = np.frombuffer(data, dtype)
    return array.reshape(kept[::-1]).T if columns_first else array.reshape(kept)
