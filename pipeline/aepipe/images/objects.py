"""What Python users hand over besides paths and arrays: pictures, open files, lists of them, data sets of torch."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
from PIL import Image

from aepipe._types import ImageShape
from aepipe.errors import AepipeError, BadInput
from aepipe.space import Sides

from .arrays import as_array, layout_of
from .decoding import as_opened, decode, finish, header, shape_of
from .image_files import Wish, decode_all
from .quiet import quiet

TAKEN = (
    "give an array, a path, a list of paths or of Pillow images, an open file, a data set of torch or its DataLoader, "
    "or an object with shape, len and read(indices)"
)


def is_images(what: Any) -> bool:
    """Whether an object has what `Images` needs."""
    return callable(getattr(what, "read", None)) and hasattr(what, "shape") and hasattr(what, "__len__")


def is_array(what: Any) -> bool:
    """Whether an object is an array of some library."""
    return hasattr(what, "__array__") or hasattr(what, "__array_interface__") or hasattr(what, "__dlpack__")


def is_paths(what: Any) -> bool:
    return isinstance(what, list | tuple) and bool(what) and all(isinstance(each, str | os.PathLike) for each in what)


def is_pictures(what: Any) -> bool:
    several = what if isinstance(what, list | tuple) and what else [what]
    return all(isinstance(each, Image.Image) or _is_file(each) for each in several)


def _is_file(what: Any) -> bool:
    return callable(getattr(what, "read", None)) and not is_images(what)


def content(file: Any) -> bytes:
    """All that an open file holds, from where it stands; raises BadInput for a file of text or one that is closed."""
    try:
        data = file.read()
    except Exception as error:  # the object is the user's
        raise BadInput(f"the open file cannot be read: {error}", TAKEN) from None
    if not isinstance(data, bytes | bytearray | memoryview):
        raise BadInput("the open file gives text, not bytes", "open it with mode 'rb'")
    return bytes(data)


class Pictures:
    """Pillow images and contents of image files, read by index."""

    def __init__(self, items: list[Any], wish: Wish):
        self.items = items
        with quiet():
            headers = [self._header(index) for index in range(len(items))] if None in wish else []
        channels, height, width = wish
        if channels is None:
            channels = max(each[0] for each in headers)
        if height is None or width is None:
            height, width = headers[0][1:]
        if channels not in (1, 3):
            raise BadInput(f"pictures have 1 or 3 channels, not {channels}", "give the images as an array")
        self.shape, self.resize = (channels, height, width), None not in wish[1:]

    def __len__(self) -> int:
        return len(self.items)

    def _header(self, index: int) -> ImageShape:
        item = self.items[index]
        if isinstance(item, bytes):
            return header(io.BytesIO(item), f"picture {index}")
        return shape_of(as_opened(item, f"picture {index}"))

    def read(self, indices: np.ndarray) -> np.ndarray:
        """uint8 [n,C,H,W]; raises BadInput that names the first picture that cannot be used."""
        return decode_all(len(indices), self.shape, lambda i: self._one(int(indices[i])))

    def _one(self, index: int) -> np.ndarray:
        item, name = self.items[index], f"picture {index}"
        if isinstance(item, bytes):
            return decode(io.BytesIO(item), name, self.shape, self.resize)
        return finish(as_opened(item, name), name, self.shape, self.resize)


def of_dataset(what: Any) -> Any:
    """The data set of torch behind an object: itself, or that of a DataLoader; None if it is neither.

    Of a DataLoader all items of its data set are taken, each once, in their own order. Raises BadInput for one that would give
    others, and for a data set whose items have no numbers.
    """
    if hasattr(what, "dataset") and hasattr(what, "sampler"):
        what = _of_loader(what)
    if hasattr(what, "__iter__") and any(each.__name__ == "IterableDataset" for each in type(what).__mro__):
        hint = "give one with len and items by number, or all in one tensor: torch.stack(list(dataset))"
        raise BadInput("the data set gives its items one after another, and they are read by number", hint)
    container = isinstance(what, str | bytes | bytearray | dict | list | tuple | set | frozenset | range)
    return what if hasattr(what, "__getitem__") and hasattr(what, "__len__") and not container else None


def _of_loader(loader: Any) -> Any:
    """The data set of a DataLoader that only arranges its items in batches."""
    names = {each: type(getattr(loader, each, None)).__name__ for each in ("sampler", "batch_sampler")}
    chosen = names["sampler"] not in ("SequentialSampler", "RandomSampler", "_InfiniteConstantSampler")
    drawn = getattr(loader.sampler, "replacement", False) or getattr(loader.sampler, "_num_samples", None) is not None
    if chosen or drawn or names["batch_sampler"] not in ("BatchSampler", "NoneType"):
        raise BadInput(
            "the DataLoader takes its images by a sampler of its own", "give its data set, or a Subset of it"
        )
    collate = getattr(loader, "collate_fn", None)
    if getattr(collate, "__name__", "") not in ("default_collate", "default_convert"):
        hint = "give its data set, whose items are images, or (image, label)"
        raise BadInput("the DataLoader makes its batches by a collate_fn of its own", hint)
    return loader.dataset


class DatasetImages:
    """The images of a torch data set whose items are images, or tuples that begin with one."""

    def __init__(self, dataset: Any, wanted: Sides | None, axes: str | None = None):
        self.dataset, self.wanted, self.axes = dataset, wanted, axes
        if not len(dataset):
            raise BadInput("the data set is empty", "give one with images")
        first = self._item(0)
        self.shape, self.dtype = first.shape, first.dtype

    def __len__(self) -> int:
        return len(self.dataset)

    def _item(self, index: int) -> np.ndarray:
        """One image [C,H,W] as it is."""
        name = f"item {index} of the data set"
        try:
            item = self.dataset[index]
        except AepipeError:
            raise
        except Exception as error:  # the data set is the user's
            hint = "look at that item, or go on without it: --skip-bad"
            raise BadInput(f"{name} cannot be read: {type(error).__name__}: {error}", hint) from None
        if isinstance(item, tuple | list) and item:
            item = item[0]
        if isinstance(item, Image.Image):
            item = as_opened(item, name)
            wanted = self.wanted if self.wanted and len(self.wanted) == 3 else (None, None, None)
            channels, height, width = (side or each for side, each in zip(wanted, shape_of(item), strict=True))
            return finish(item, name, (channels, height, width))
        if not is_array(item) and not hasattr(item, "detach"):
            raise BadInput(f"{name} is no image but {type(item).__name__}", "items are images, or (image, label)")
        array = as_array(item, name)
        return layout_of((1, *array.shape), self.wanted, name, self.axes).arranged(array[None])[0]

    def read(self, indices: np.ndarray) -> np.ndarray:
        """[n, C, *sides] as the items are; raises BadInput for an item of another shape."""
        images = []
        for index in indices:
            image = self._item(int(index))
            if image.shape != self.shape:
                message = f"item {index} of the data set has shape {list(image.shape)}, the first {list(self.shape)}"
                raise BadInput(message, "give one shape to all, for instance by a transform")
            images.append(image)
        return np.stack(images)


def dataset_labels(dataset: Any) -> np.ndarray | None:
    """The classes that a torch data set lists, as those of torchvision do."""
    found = getattr(dataset, "targets", None)
    try:
        labels = None if found is None else as_array(found, "targets")
    except BadInput:
        return None
    return labels if labels is not None and labels.ndim == 1 and len(labels) == len(dataset) else None
