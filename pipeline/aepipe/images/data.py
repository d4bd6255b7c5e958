"""Reading images, whatever they are in: data sets, arrays, files and folders, in batches, never all at once."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from aepipe._types import Shape
from aepipe.errors import AepipeError, BadInput, closest, foreign
from aepipe.plugins.specs import NAME, parse_spec, split_slice

from .array_files import load_array_file
from .arrays import Images, array_images
from .image_files import Wish, find_images, open_files
from .source import SPLITS, Source

ACCEPTED = "give an image file, a folder of images, .npy, .npz or IDX (gzipped or not)"


def open_images(
    what: Any,
    *,
    split: str = "test",
    shape: Shape | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    limit: int | None = None,
) -> Source:
    """Open a data string, a path, an array (NumPy, memory-mapped, torch) or an `Images` object.

    `shape` (C, H, W) is the model's: image files are cropped, resized and converted to it, all else must have it.
    Without it `image_size` (a number for square, or H and W) and `channels` (1 or 3) say what image files become; where
    they are not given the first file decides. `limit` keeps the first images, after the data string's own slice.
    Raises BadInput for whatever cannot be used.
    """
    if split not in SPLITS:
        raise BadInput(f"there is no split {split!r}", "the splits are train and test")
    if limit is not None and limit < 1:
        raise BadInput(f"the limit is {limit}", "a limit is 1 or more")
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size or (None, None)
    if any(side is not None and side < 1 for side in (height, width)) or channels not in (None, 1, 3):
        message = f"images of size {image_size} with {channels} channels cannot be made"
        raise BadInput(message, "the size is 1 or more, channels are 1 or 3")
    wish: Wish = shape or (channels, height, width)
    part = None
    if isinstance(what, str):
        spec_or_path, part = _classify(what)
        if isinstance(spec_or_path, Path):
            source = _open_path(spec_or_path, what, split, shape, wish)
        else:
            source = _open_dataset(spec_or_path, what, split, shape)
    elif isinstance(what, os.PathLike):
        source = _open_path(Path(what).expanduser(), str(what), split, shape, wish)
    else:
        source = Source("array", _as_images(what, shape, "the array"))
    source = source.cut(part)
    source = source.cut(None if limit is None or limit >= len(source) else slice(limit))
    if not len(source):
        raise BadInput(f"there are no images in {source.name}", "the input or the slice of it is empty")
    return source


def open_test_split(text: str, shape: Shape) -> Source | None:
    """The whole test split of a data set or of a folder with `train/` and `test/`; None where the data has no splits."""
    if text == "array":
        return None
    spec_or_path, _ = _classify(text)
    if isinstance(spec_or_path, str):
        return _open_dataset(spec_or_path, text, "test", shape)
    has_splits = all((spec_or_path / part).is_dir() for part in SPLITS)
    return _open_path(spec_or_path, text, "test", shape, shape) if has_splits else None


def _classify(text: str) -> tuple[Path | str, slice | None]:
    """A data string as (path, slice) or (spec without its slice, slice)."""
    from aepipe import plugins

    datasets = plugins.registry().components("dataset")
    name = re.match(rf"{NAME.pattern}(?=[:\[]|$)", text)
    if name and name[0] in datasets:
        return split_slice(text)
    if text and _exists(text):  # brackets that are part of a file's name are no slice
        return Path(text).expanduser(), None
    rest, part = split_slice(text)
    separated = any(separator in rest for separator in ("/", os.sep, os.altsep) if separator)
    if separated or re.match(r"[A-Za-z]:[^=]*$", rest) or rest.startswith((".", "~")) or (rest and _exists(rest)):
        return Path(rest).expanduser(), part
    raise BadInput(f"{text!r} is neither a data set nor a path", closest(rest.partition(":")[0], sorted(datasets)))


def _exists(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, no home folder
        return False


def _as_images(what: Any, shape: Shape | None, name: str) -> Images:
    """An array or an `Images` object, of the model's shape where there is one."""
    if not (hasattr(what, "read") and hasattr(what, "shape") and hasattr(what, "__len__")):
        return array_images(what, shape, name)
    if shape is not None and tuple(what.shape) != tuple(shape):
        message = f"{name} has images of shape {list(what.shape)}, the model takes {list(shape)}"
        raise BadInput(message, "give images of the model's shape")
    return what


def _open_dataset(spec: str, name: str, split: str, shape: Shape | None) -> Source:
    from aepipe import plugins

    choice = plugins.choose("dataset", parse_spec(spec))
    dataset, owner = choice.make(), choice.component
    with foreign(f"data set {owner.name!r} of {owner.plugin} failed", "see 'aepipe plugins' for where it comes from"):
        images = dataset.load(split)
        labels = dataset.labels(split) if hasattr(dataset, "labels") else None
    source = Source(name, _as_images(images, shape, f"data set {choice.component.name!r}"), dataset=choice.record())
    source.labels = None if labels is None else np.asarray(labels)
    if source.labels is not None and len(source.labels) != len(source):
        message = f"data set {name!r} has {len(source)} images but {len(source.labels)} labels"
        raise AepipeError(message, "report it to the authors of the data set")
    return source


def _open_path(path: Path, name: str, split: str, shape: Shape | None, wish: Wish) -> Source:
    if path.is_dir():
        if all((path / part).is_dir() for part in SPLITS):
            path = path / split
        paths = find_images(path)
        return Source(name, open_files(path, paths, wish), paths)
    if not path.is_file():
        known = "there is no file or folder" if not path.exists() else "there is neither a file nor a folder"
        raise BadInput(f"{known} {str(path)!r}", ACCEPTED)
    loaded = load_array_file(path)
    if loaded is None:
        return Source(name, open_files(path.parent, [path.name], wish), [path.name], single_file=True)
    return Source(name, array_images(loaded[0], shape, str(path)), labels=loaded[1])
