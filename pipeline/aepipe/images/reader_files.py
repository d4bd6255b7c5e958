"""Samples that readers give: one in each file, or many in one; images among them are cropped to the centre and resized."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aepipe._types import Shape
from aepipe.errors import BadInput
from aepipe.space import listed

from .arrays import Images
from .decoding import covering
from .image_files import Wish, decode_all, useful_threads
from .readers import Reader


def fitted(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image [C, H, W] of any numbers, cropped to the centre and resized by the rule of image files: bicubic, in float32.

    Results stay between the lowest and the highest value of the image, and have its type.
    """
    if image.shape[1:] == (height, width):
        return image
    planes = [Image.fromarray(np.ascontiguousarray(plane, np.float32)) for plane in image]
    made = np.stack([np.asarray(covering(each, width, height)) for each in planes])
    made = np.clip(made, np.float32(image.min()), np.float32(image.max()))
    return np.rint(made).astype(image.dtype) if image.dtype.kind in "iub" else made.astype(image.dtype)


def target_of(shape: Shape, wish: Wish, name: str) -> Shape:
    """The shape that samples of this shape are to have. Raises BadInput for other channels than are wished for."""
    if len(shape) != 3:
        return shape
    channels, height, width = wish
    if channels not in (None, shape[0]):
        message = f"{name} has {shape[0]} channels, and {channels} are wanted"
        raise BadInput(message, "only 8-bit image files are converted to grey or colour")
    return (shape[0], height or shape[1], width or shape[2])


class FittedImages:
    """Images of a file, cropped and resized as they are read."""

    def __init__(self, images: Images, shape: Shape):
        self.images, self.shape = images, shape
        for name in ("dtype", "chunk"):
            if hasattr(images, name):
                setattr(self, name, getattr(images, name))

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: np.ndarray) -> np.ndarray:
        read = self.images.read(indices)
        return np.stack([fitted(image, *self.shape[1:]) for image in read]) if len(read) else read


class ReadFiles:
    """Files with one sample each, read by a reader: all of one shape and type, or images at their own sizes."""

    def __init__(self, root: Path, paths: list[str], reader: Reader, wish: Wish, split: str):
        self.root, self.paths, self.reader, self.split = root, paths, reader, split
        self.resize = None not in wish[1:]
        first = self._first()
        self.dtype = first.dtype
        self.shape = target_of(first.shape, wish, paths[0])

    def _first(self) -> np.ndarray:
        errors = []
        for index in range(len(self.paths)):
            try:
                return self._sample(index)
            except BadInput as error:  # reading the samples reports this file later, or skips it
                errors.append(error)
        raise errors[0]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """[n, C, *sides] of the files' own numbers; raises BadInput that names the first file that cannot be used."""
        files = [self._path(int(index)) for index in indices]
        read = lambda at: self._fit(int(indices[at]))  # noqa: E731
        return decode_all(len(files), self.shape, read, useful_threads(files), self.dtype)

    def read_whole(self, index: int) -> np.ndarray:
        """One sample at its own size; raises BadInput that names the file."""
        return self._checked(self._sample(index), index)

    def _fit(self, index: int) -> np.ndarray:
        sample = self._checked(self._sample(index), index)
        if self.resize and sample.ndim == 3:
            sample = fitted(sample, *self.shape[1:])
        if sample.shape != self.shape:
            message = f"{self._path(index)} has the shape {listed(sample.shape)}, the first {listed(self.shape)}"
            hint = "give one size for all: --image-size 64" if sample.ndim == 3 else "give samples of one shape"
            raise BadInput(message, hint)
        return sample

    def _checked(self, sample: np.ndarray, index: int) -> np.ndarray:
        if sample.dtype != self.dtype:
            message = f"{self._path(index)} holds {sample.dtype} values, the first file {self.dtype}"
            raise BadInput(message, "give files of one type")
        if sample.ndim != len(self.shape) or sample.shape[0] != self.shape[0]:
            message = f"{self._path(index)} has the shape {listed(sample.shape)}, the first {listed(self.shape)}"
            raise BadInput(message, "give files with the same channels")
        return sample

    def _path(self, index: int) -> str:
        return f"{self.root}/{self.paths[index]}"  # a Path takes as long to make as a small file to open

    def _sample(self, index: int) -> np.ndarray:
        path = self._path(index)
        kept = self.reader.read(path, self.split)
        samples: Any = None if kept is None else kept.samples
        if samples is None or kept is None or kept.is_array:
            raise BadInput(f"{path} is not read as one sample", "give files of arrays one by one")
        if len(samples) != 1:
            raise BadInput(
                f"{path} holds {len(samples)} samples, and a file of a folder holds one",
                "give it alone, or say what its pages are: FOLDER[pages=volume]",
            )
        values = samples.read(np.array([0]))[0]
        return values.astype(values.dtype.newbyteorder("="), copy=False)
