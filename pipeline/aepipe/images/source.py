"""Any input, ready to be read by index."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aepipe._types import Shape
from aepipe.errors import AepipeError, BadInput
from aepipe.space import KINDS, Kind, Raw, listed

from .arrays import Images
from .image_files import decode_each, useful_threads
from .pixels import checked_float
from .ranges import into_graph
from .readers import Writing
from .taken import Taken, printable

PROBES = 16  # images of a data set that tell it from another


@dataclass
class Source:
    """Any input, ready to be read by index."""

    name: str  # the spec or path as the user gave it, "array" for arrays
    images: Images
    paths: list[str] | None = None  # if the images are files, the relative path of each, '/'-separated
    labels: np.ndarray | None = None
    single_file: bool = False  # the input was one image file
    dataset: dict[str, Any] | None = None  # record of the component, where it is a data set
    file: Path | None = None  # where the images are an array in a file
    taken: Taken = field(default_factory=Taken)
    range: Any = None  # what a data set says of its values, as --range would
    writing: Writing | None = None  # how results are written in the form of its files, where a reader gave it
    raw: Raw | None = None  # how its values become those of the graphs, where they are not bytes or floats in 0..1

    @property
    def shape(self) -> Shape:
        """C, *sides."""
        return tuple(self.images.shape)

    @property
    def kind(self) -> Kind:
        return KINDS[len(self.shape) - 1]

    @cached_property
    def dtype(self) -> np.dtype:
        """The type of its raw values."""
        images: Any = self.images
        while isinstance(images, Picked):
            images = images.images
        found = images.dtype if hasattr(images, "dtype") else images.read(np.array([0])).dtype
        return np.dtype(found).newbyteorder("=")

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The samples at `indices` (0 to len-1, any order), [n, C, *sides], for the graphs: uint8, or float32, which is in 0..1
        unless the data are unbounded. Raises BadInput."""
        return self.for_graphs(self.read_raw(indices), np.asarray(indices))

    def read_raw(self, indices: np.ndarray) -> np.ndarray:
        """The same as they are, of their own numbers, which `for_graphs` takes."""
        images = self.images.read(np.asarray(indices))
        if images.shape != (len(indices), *self.shape):
            message = f"{self.name} gave images {list(images.shape)} where {[len(indices), *self.shape]} was due"
            raise AepipeError(message, "report it to the authors of the data set")
        return images

    def for_graphs(self, images: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """What `read` gives of raw samples; `indices` are theirs, for messages. Raises BadInput for values that cannot be used."""
        if self.raw is not None:
            return into_graph(images, self.raw, indices, self.name)
        if images.dtype == np.uint8:
            return images
        return images.astype(np.float32) if images.dtype == bool else checked_float(images, indices, self.name)

    def read_whole(self, index: int) -> np.ndarray:
        """One image [C, H, W]; where the source was opened without a shape, a file at its own size and in its own colours."""
        images: Any = self.images
        own = index
        while isinstance(images, Picked):
            images, own = images.images, int(images.picked[own])
        if not hasattr(images, "read_whole"):
            return self.read(np.array([index]))[0]
        return self.for_graphs(images.read_whole(own)[None], np.array([index]))[0]

    def read_each(self, indices: np.ndarray) -> list[np.ndarray]:
        """The samples at `indices`, each [C, *sides] at its own size and all of as many channels, as `read` gives their values.

        It is for sources of `own_sizes`. Raises BadInput for the first that cannot be used.
        """
        threads = useful_threads([self.files[index] for index in indices]) if self.paths is not None else 1
        return decode_each(len(indices), lambda k: self._in_colours(int(indices[k])), threads)

    def _in_colours(self, index: int) -> np.ndarray:
        image, channels = self.read_whole(index), self.shape[0]
        if len(image) == 1 and channels == 3:  # some of the files are grey
            return np.repeat(image, channels, 0)
        if image.ndim != len(self.shape) or len(image) != channels:
            message = (
                f"index {index} of {self.name} has the shape {listed(image.shape)}, the first {listed(self.shape)}"
            )
            raise BadInput(message, "give samples with the same channels")
        return image

    @property
    def files(self) -> list[Path]:
        """Where the samples are files, which they are."""
        images: Any = self.images
        while isinstance(images, Picked):
            images = images.images
        return [images.root / path for path in self.paths or []]

    def chunks(self) -> np.ndarray | None:
        """The number of the chunk in which each sample lies, int64; None where nothing is known of how they lie.

        Samples of one chunk lie together, so that reading all of them costs about as much as reading one.
        """
        images: Any = self.images
        own = np.arange(len(self))
        while isinstance(images, Picked):
            images, own = images.images, images.picked[own]
        size = getattr(images, "chunk", None)
        if size is None:
            return None
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            message = f"{self.name} says that {size!r} samples lie together"
            raise AepipeError(message, "report it to the authors of the data set: `chunk` is a whole number")
        return own // size if size > 1 else None

    @property
    def own_sizes(self) -> bool:
        """Whether its images are files that keep their own sizes."""
        images: Any = self.images
        while isinstance(images, Picked):
            images = images.images
        return hasattr(images, "read_whole") and not getattr(images, "resize", True)

    def pick(self, indices: np.ndarray) -> Source:
        """The images at these indices, in this order."""
        paths = None if self.paths is None else [self.paths[index] for index in indices]
        labels = None if self.labels is None else self.labels[indices]
        picked = Picked(self.images, np.asarray(indices))
        return replace(self, images=picked, paths=paths, labels=labels)

    def describe(self, *, whole: bool = False) -> str:
        """One line that says what was taken as input, and what was left out; `whole`: each at its own size."""
        return self.taken.sentence(self.name, len(self), None if whole else self.shape, self.raw)

    def read_otherwise(self, trained: Mapping[str, Any]) -> str:
        """A sentence where this data set was trained on with other options, by what a bundle says of its training; else ""."""
        reading = trained.get("reading")
        before = reading.get("dataset") if isinstance(reading, Mapping) else None
        if not isinstance(before, Mapping) or self.dataset is None or before.get("name") != self.dataset["name"]:
            return ""
        own, options = self.dataset["options"], before.get("options")
        options = options if isinstance(options, Mapping) else {}
        other = [f"{key}={value} (now {own.get(key)})" for key, value in options.items() if own.get(key) != value]
        if before.get("plugin") == self.dataset["plugin"] and before.get("version") != self.dataset["version"]:
            other.append(f"version {before.get('version')} (now {self.dataset['version']})")
        return (
            printable(f"note: the model was trained on {self.dataset['name']} with {', '.join(other)}") if other else ""
        )

    def record(self) -> dict[str, Any]:
        """The same for a program."""
        names = {"image": ("height", "width")}.get(self.kind, ("depth", "height", "width")[4 - len(self.shape) :])
        size = dict(zip(("channels", *names), self.shape, strict=True))
        return {"name": self.name, "count": len(self), **size, **self.taken.record()}

    def state(self) -> str:
        """A digest by which this input is known again if it has not changed: of which images it has, and of path, size and time
        of change of every file. A data set, which has no files, is known by its record and by some of its images; so is a folder
        that a reader takes whole, whose time of change says nothing of what lies in it."""
        images: Any = self.images
        digest = hashlib.sha256(
            repr((self.shape, self.raw, self.taken.layout, self.dataset, self.taken.split, self.taken.origin)).encode()
        )
        while isinstance(images, Picked):
            digest.update(images.picked.tobytes())
            images = images.images
        files = self.files if self.paths is not None else [self.file] if self.file else []
        for file in files:
            digest.update(file_state(file).encode("utf-8", "surrogateescape"))
        telling = files and not (self.file and self.file.is_dir())
        for index in [] if telling else np.linspace(0, len(self) - 1, PROBES).astype(int):
            try:
                digest.update(self.read(np.array([index])).tobytes())
            except BadInput as error:
                digest.update(error.message.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def cut(self, part: slice | None) -> Source:
        """The images that a slice picks."""
        return self if part is None else self.pick(np.arange(len(self))[part])


def file_state(path: Path) -> str:
    """Path, size and time of change of a file, in one line."""
    try:
        found = path.stat()
    except OSError as error:
        return f"{path.absolute()} {error.errno}\n"
    return f"{path.absolute()} {found.st_size} {found.st_mtime_ns}\n"


class Picked:
    """Some of the images, by a list of indices."""

    def __init__(self, images: Images, picked: np.ndarray):
        self.images, self.picked, self.shape = images, picked, images.shape

    def __len__(self) -> int:
        return len(self.picked)

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.images.read(self.picked[indices])
