"""Reading images, whatever they are in: data sets, arrays, files and folders, in batches, never all at once."""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aepipe.arguments import is_one_of, whole
from aepipe.errors import AepipeError, BadInput, as_typed, closest, foreign
from aepipe.files.numpy_files import reading
from aepipe.files.out import as_path
from aepipe.files.regular import check_regular
from aepipe.plugins.specs import NAME, parse_spec, split_slice
from aepipe.space import AXES, KINDS, Raw, Sides, fits, listed

from . import objects
from .archives import Loaded, Wanted
from .array_files import load_array_file, load_arrays
from .arrays import Images, array_images, as_array
from .decoding import ENDINGS, max_pixels
from .folders import find_images, has_splits
from .image_files import Wish, is_plain, open_files
from .loaded import load
from .ranges import raw_of
from .reader_files import FittedImages, ReadFiles, target_of
from .readers import Reader, ending_among, endings_of, known_endings, missing, reader_of, unknown
from .source import Source
from .splits import SPLITS
from .taken import Taken

LOOKED_AT = 1000  # samples by which --range auto finds the range
ACCEPTED = "give an image file, a folder of images, .npy, .npz or IDX (gzipped or not)"
MEMBER = re.compile(r"\[([^\W\d][^\[\]:]*)\]$")


class Asked(NamedTuple):
    """What is to be read of an input."""

    split: str
    shape: Sides | None  # the model's
    wish: Wish
    part: slice | None = None
    limit: int | None = None
    member: str | None = None  # of an archive
    axes: str | None = None  # the layout of an array, such as NCL

    def of(self, values: list[str]) -> list[str]:
        """Those that are read."""
        return values[self.part or slice(None)][: self.limit]

    @property
    def rows(self) -> int | None:
        """So many rows from the first suffice; None for all."""
        if self.part is None:
            return self.limit
        start, stop, step = self.part.start or 0, self.part.stop, self.part.step or 1
        if start < 0 or step < 0 or (stop or 0) < 0:
            return None
        most = None if self.limit is None else start + (self.limit - 1) * step + 1
        return min((each for each in (stop, most) if each is not None), default=None)


def open_images(
    what: Any,
    *,
    split: str = "test",
    shape: Sides | None = None,
    image_size: Any = None,
    channels: int | None = None,
    limit: int | None = None,
    layout: str | None = None,
    range: Any = None,
    raw: Raw | None = None,
) -> Source:
    """Open a data string, a path, an array (NumPy, memory-mapped, torch), or what `objects.TAKEN` lists.

    `shape` (C, *sides) is the model's: image files are cropped, resized and converted to it, all else must have it.
    Without it `image_size` (a number for square, or H and W) and `channels` (1 or 3) say what image files become; where
    they are not given, the first file decides the size, and all files the colours. `limit` keeps the first images, after the
    data string's own slice. `layout` says how the axes of an array stand: NCL, NHWC, NDHW, …

    Values are bytes, or floats in 0..1. Others become those by `range` (LO..HI, dtype, auto, or none for unbounded data), or
    by `raw`, the model's. Raises BadInput for whatever cannot be used.
    """
    if not is_one_of(split, SPLITS):
        raise BadInput(f"there is no split {split!r}", "the splits are train and test")
    if limit is not None:
        limit = whole("the limit", limit, 1)
    wish = _wish(image_size, channels) if shape is None or len(shape) != 3 else (shape[0], shape[1], shape[2])
    asked = Asked(split, shape, wish, limit=limit, axes=layout)
    if isinstance(what, str):
        found, member, part = _classify(what)
        asked = asked._replace(part=part, member=member)
        source = _open_path(found, what, asked) if isinstance(found, Path) else _open_dataset(found, what, asked)
    elif isinstance(what, os.PathLike):
        source = _open_path(as_path(what), os.fsdecode(what), asked)
    else:
        source = _open_object(what, asked)
    if not len(source):
        raise BadInput(f"there are no images in {source.name}", "the input or the slice of it is empty")
    _check_wish(source, asked.wish)
    if range is None and raw is None and shape is None:
        range = source.range
    if range is not None:
        raw = raw_of(range, source.dtype, lambda: _typical(source), source.name)
    if raw is None:
        _check_plain(source, of_model=shape is not None)
        return source
    if source.dtype.name != raw.dtype and "uint8" in (source.dtype.name, raw.dtype):
        source.taken.remarks.append(
            f"the model was trained on {raw.dtype}, and these {source.dtype} are taken in its units"
        )
    return replace(source, raw=raw)


def _typical(source: Source) -> np.ndarray:
    """Values of samples that are spread over the data."""
    spread = np.unique(np.linspace(0, len(source) - 1, min(len(source), LOOKED_AT)).astype(np.int64))
    return source.images.read(spread)


def _check_plain(source: Source, *, of_model: bool) -> None:
    """Raise BadInput for numbers that are neither bytes nor may be floats in 0..1, before any is read."""
    dtype = getattr(source.images, "dtype", None)
    if dtype is not None and dtype != np.uint8 and np.dtype(dtype).kind in "iu":
        ours = "the model was trained on bytes, or on floats in 0..1: give these"
        hint = ours if of_model else "say which are black and white: --range 0..4095, or --range dtype"
        raise BadInput(f"{source.name} holds {dtype} values", hint)


def _check_wish(source: Source, wish: Wish) -> None:
    """Raise BadInput where a size or colours were asked for that only image files could be given."""
    shape = source.shape if len(source.shape) == 3 else (None, None, None)
    if any(wished not in (None, side) for wished, side in zip(wish, shape, strict=True)):
        message = (
            f"{source.name} has images of shape {list(source.shape)}, and only image files are resized or converted"
        )
        raise BadInput(message, "leave out --image-size and --channels")


def check_asked(split: str | None, layout: str | None, *sources: Source) -> None:
    """Raise BadInput where the user has named a split, or how axes stand, and none of the sources has such."""
    names = " and ".join(source.name for source in sources)
    if split is not None and not any(source.taken.split for source in sources):
        raise BadInput(
            f"{as_typed('--split')} belongs to data with splits, not to {names}", "leave out --split: all is read"
        )
    if layout is not None and not any(source.taken.layout for source in sources):
        raise BadInput(f"{as_typed('--layout')} belongs to arrays, not to {names}", "leave out --layout")


def _wish(image_size: Any, channels: Any) -> Wish:
    """Channels, height and width that were asked for, as Python's own numbers."""
    hint = "the size is 1 or more, or height and width; channels are 1 or 3"
    if channels is not None and whole("the number of channels", channels, 1, hint) not in (1, 3):
        raise BadInput(f"images with {channels} channels cannot be made", hint)
    sides = (None, None) if image_size is None else np.atleast_1d(np.asarray(image_size, dtype=object)).tolist()
    if len(sides) not in (1, 2):
        raise BadInput(f"images of size {image_size} cannot be made", hint)
    height, width = (None if side is None else whole("the image size", side, 1, hint) for side in (sides * 2)[:2])
    if height and width and height * width > max_pixels():
        raise BadInput(
            f"images of {width:,}x{height:,} pixels are too large", "allow more: AEPIPE_MAX_PIXELS=1000000000"
        )
    return None if channels is None else int(channels), height, width


def plain(value: Any) -> Any:
    """Numbers of NumPy, alone or several, as Python's own, which a record can hold; anything else as it is."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else _plain_each(value)


def _plain_each(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def open_test_split(text: str, shape: Sides | None = None, layout: str | None = None, **asked: Any) -> Source | None:
    """The whole test split of a data set, or of a folder or an archive with both splits; None where the data has no splits.

    The arguments are those of `open_images`.
    """
    asked["shape"] = shape
    if text == "array":
        return None
    found, member, _ = _classify(text)
    if isinstance(found, str) or (_is_folder(found) and has_splits(found)):
        return open_images(text, **asked)
    if member is None and not found.is_dir() and _has_both_splits(found):
        return open_images(text, layout=layout, **asked)
    if (reader := reader_of(found, member)) is None or is_plain(found):
        return None
    kept = reader.read(found, "test")
    if kept is None or not kept.splits:
        return None
    return open_images(text, layout=layout, **asked)


def _has_both_splits(path: Path) -> bool:
    """Whether an archive tells by the names of its arrays what to train on and what to test with."""
    try:
        loaded = [load_array_file(path, split, rows=1) for split in SPLITS]
    except BadInput:
        return False
    return all(each is not None and each.split == split for each, split in zip(loaded, SPLITS, strict=True))


def _classify(text: str) -> tuple[Path | str, str | None, slice | None]:
    """A data string as (path, array of it or None, slice) or (spec without its slice, None, slice)."""
    from aepipe import plugins

    datasets = plugins.registry().components("dataset")
    name = re.match(rf"{NAME.pattern}(?=[:\[]|$)", text)
    if name and name[0] in datasets:
        spec, part = split_slice(text)
        return spec, None, part
    if text and _exists(text):  # brackets that are part of a file's name are no slice
        return as_path(text), None, None
    rest, part = split_slice(text)
    member = None if rest and _exists(rest) else MEMBER.search(rest)
    if member:
        rest = rest[: member.start()]
    separated = any(separator in rest for separator in ("/", os.sep, os.altsep) if separator)
    if separated or re.match(r"[A-Za-z]:[^=]*$", rest) or rest.startswith((".", "~")) or (rest and _exists(rest)):
        return as_path(rest), member and member[1], part
    raise BadInput(
        f"{_short(text)!r} is neither a data set nor a path", closest(rest.partition(":")[0], sorted(datasets))
    )


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}…"


def _exists(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, no home folder
        return False


def _open_object(what: Any, asked: Asked) -> Source:
    """Whatever Python users hand over besides strings and paths."""
    if objects.is_images(what):
        return _cut(Source("array", _of_shape(what, asked, "the array"), taken=Taken("object", "of an object")), asked)
    if objects.is_paths(what):
        paths = [str(as_path(each)) for each in what]
        return _open_files(Path(), paths, "array", asked, Taken("image files", "in a list of files"))
    if objects.is_pictures(what):
        return _open_pictures(list(what) if isinstance(what, list | tuple) else [what], asked)
    if not objects.is_array(what) and (dataset := objects.of_dataset(what)) is not None:
        images = objects.DatasetImages(dataset, asked.shape, asked.axes)
        source = Source("array", images, labels=objects.dataset_labels(dataset))
        source.taken = Taken("data set", "of a data set in Python", layout=asked.axes or "")
        return _cut(source, asked)
    if objects.is_array(what) or isinstance(what, list | tuple):
        return _cut(_of_array(what, "array", "the array", asked), asked)
    raise BadInput(f"images cannot be read from {type(what).__name__}", objects.TAKEN)


def _open_pictures(items: list[Any], asked: Asked) -> Source:
    """Pillow images and open files; a single open file may hold an array."""
    contents = [each if hasattr(each, "getpixel") else objects.content(each) for each in items]
    if len(contents) == 1 and isinstance(contents[0], bytes):
        name = "the open file"
        with reading(f"{name} cannot be read", "it may be truncated or damaged"):
            loaded = load_arrays(io.BytesIO(contents[0]), Path(name), None, Wanted(asked.split, rows=asked.rows))
        if loaded is not None:
            return _of_loaded(loaded, "array", asked, name)
    images = objects.Pictures(contents[: asked.limit], asked.wish)
    taken = Taken("objects", "of Python objects", whole=len(contents), converted=images.resize)
    return Source("array", images, taken=taken)


def _of_array(what: Any, source: str, name: str, asked: Asked, taken: Taken | None = None) -> Source:
    """The samples of an array, and a word of how its axes were taken."""
    images = array_images(what, asked.shape, name, asked.axes)
    taken = taken or Taken()
    taken.layout = f"{images.layout.axes} {list(images.array.shape)}"
    return Source(source, images, taken=taken)


def _of_shape(what: Any, asked: Asked, name: str) -> Images:
    """What a data set gives, an array [N, C, *sides] or an `Images` object, of the model's shape where there is one."""
    if not objects.is_images(what):
        array = as_array(what, name)
        usual = AXES[KINDS[array.ndim - 2]] if 2 <= array.ndim <= 5 else None
        return array_images(array, asked.shape, name, usual)
    if asked.shape is not None and not fits(asked.shape, tuple(what.shape)):
        message = f"{name} has samples of shape {list(what.shape)}, the model takes {listed(asked.shape)}"
        raise BadInput(message, "give images of the model's shape")
    return what


def _cut(source: Source, asked: Asked) -> Source:
    """The images of a source that are read, by slice and limit."""
    source.taken.whole = len(source)
    source = source.cut(asked.part)
    return source.cut(None if asked.limit is None or asked.limit >= len(source) else slice(asked.limit))


def _open_dataset(spec: str, name: str, asked: Asked) -> Source:
    from aepipe import plugins

    choice = plugins.choose("dataset", parse_spec(spec))
    dataset, owner = choice.make(), choice.component
    with foreign(f"data set {owner.name!r} of {owner.plugin} failed", "see 'aepipe plugins' for where it comes from"):
        images, labels = load(owner, dataset, asked.split)
    record = choice.record()
    source = Source(name, _of_shape(images, asked, f"data set {owner.name!r}"), dataset=record)
    source.range = getattr(dataset, "range", None)
    source.labels = labels
    if source.labels is not None and len(source.labels) != len(source):
        message = f"data set {name!r} has {len(source)} images but {len(source.labels)} labels"
        raise AepipeError(message, "report it to the authors of the data set")
    owned = "of the built-in data set" if owner.plugin == "aepipe" else f"of the data set of {owner.plugin}"
    source.taken = Taken("data set", owned, asked.split)
    if _exists(owner.name):
        remark = f"what lies in {owner.name} here was not taken, which ./{owner.name} names"
        source.taken.remarks.append(remark)
    return _cut(source, asked)


def _open_path(path: Path, name: str, asked: Asked) -> Source:
    if _is_folder(path):
        if missing(path) and path.suffix.lower() not in ENDINGS:
            raise unknown(path, ACCEPTED)
        if asked.member is not None and "=" not in asked.member:
            raise BadInput(f"{path} is a folder, which holds no arrays with names", f"leave out [{asked.member}]")
        listing = find_images(path, asked.split, known_endings())
        taken = Taken("folder", "in a folder", left_out=listing.left_out())
        if listing.split is not None:
            taken.split, taken.origin = asked.split, f"in its folder {listing.split}/"
        return _open_folder(listing.root, listing.paths, name, asked, taken)
    if not path.exists():
        raise BadInput(f"there is no file or folder {_short(str(path))!r}", ACCEPTED)
    reader = reader_of(path, asked.member)
    if reader is not None and (asked.member is not None or not is_plain(path)):
        return _open_read(reader, path, name, asked)
    check_regular(path, ACCEPTED)
    if missing(path) and path.suffix.lower() not in ENDINGS:
        raise unknown(path, ACCEPTED)
    loaded = load_array_file(path, asked.split, asked.member, asked.rows)
    if loaded is not None:
        return _of_loaded(loaded, name, asked, str(path), path)
    if asked.member is not None:
        raise BadInput(f"{path} holds no arrays with names", missing(path) or f"leave out [{asked.member}]")
    source = _open_files(path.parent, [path.name], name, asked, Taken("image file", "in a file"))
    source.single_file = True
    return source


def _open_folder(root: Path, paths: list[str], name: str, asked: Asked, taken: Taken) -> Source:
    """The files of a folder: plain images, or files of one reader."""
    chosen = asked.of(paths)
    own = next((path for path in chosen if asked.member is not None or not is_plain(root / path)), None)
    reader = None if own is None else reader_of(root / own, asked.member)
    if reader is None or own is None:
        if asked.member is not None:
            raise BadInput(f"no reader takes the files of {root}", f"leave out [{asked.member}]")
        return _open_files(root, paths, name, asked, taken)
    endings = endings_of(reader.component)
    other = [path for path in chosen if ending_among(path, endings) not in endings]
    if other:
        message = f"{root} holds {own}, which is read {reader}, and {other[0]}, which it does not read"
        raise BadInput(message, "keep files of one form in a folder")
    taken.whole, taken.origin = len(paths), f"{taken.origin}, {reader}"
    return _open_read_files(reader, root, chosen, name, asked, taken)


def _open_read_files(reader: Reader, root: Path, paths: list[str], name: str, asked: Asked, taken: Taken) -> Source:
    images = ReadFiles(root, paths, reader, asked.wish, asked.split)
    _check_fits(images.shape, asked, name)
    taken.converted = images.resize and len(images.shape) == 3
    return Source(name, images, paths, taken=taken, writing=reader.writing)


def _open_read(reader: Reader, path: Path, name: str, asked: Asked) -> Source:
    """What a reader finds in a file."""
    kept = reader.read(path, asked.split)
    if kept is None:
        raise unknown(path, ACCEPTED)
    taken = Taken("file", f"of a file, {reader}", asked.split if kept.splits else None)
    images: Images
    if kept.is_array:
        images = array_images(kept.samples, asked.shape, str(path), asked.axes, lazy=True)
        taken.layout = f"{images.layout.axes} {list(images.array.shape)}"
    elif len(kept.samples) == 1 and kept.labels is None and path.is_file():
        taken.whole = 1
        source = _open_read_files(reader, path.parent, asked.of([path.name]), name, asked, taken)
        source.single_file = True
        return source
    else:
        images = kept.samples
        shape = target_of(tuple(images.shape), asked.wish, str(path))
        _check_fits(shape, asked, name)
        if shape != tuple(images.shape):
            images, taken.converted = FittedImages(images, shape), True
    source = Source(name, images, taken=taken, file=path, labels=kept.labels, writing=reader.writing)
    return _cut(source, asked)


def _check_fits(shape: tuple[int, ...], asked: Asked, name: str) -> None:
    if asked.shape is not None and not fits(asked.shape, shape):
        message = f"{name} has samples of shape {list(shape)}, the model takes {listed(asked.shape)}"
        raise BadInput(message, "give samples of the model's shape")


def _is_folder(path: Path) -> bool:
    """Whether this is a folder of files, and none that a reader takes whole by its ending, such as a .zarr."""
    try:
        return path.is_dir() and ending_among(path, known_endings()) not in known_endings()
    except OSError as error:
        raise BadInput(
            f"{_short(str(path))} cannot be read: {error.strerror}", "check the path and its permissions"
        ) from None


def _open_files(root: Path, paths: list[str], name: str, asked: Asked, taken: Taken) -> Source:
    """Image files, of which only those that are read are looked at."""
    taken.whole = len(paths)
    chosen = asked.of(paths)
    if not chosen:
        raise BadInput(f"there are no images in {name}", "the input or the slice of it is empty")
    images, remarks = open_files(root, chosen, asked.wish)
    taken.remarks += [] if asked.shape is not None and None in asked.shape else remarks
    taken.converted = images.resize
    return Source(name, images, chosen, taken=taken)


def _of_loaded(loaded: Loaded, name: str, asked: Asked, what: str, file: Path | None = None) -> Source:
    """The images of an array file."""
    taken = Taken("array file", f"in the array {loaded.array}" if loaded.array else "of an array file", loaded.split)
    if loaded.others:
        noun = "arrays" if len(loaded.others) > 1 else "array"
        taken.left_out[f"{noun} ({', '.join(loaded.others[:8])})"] = len(loaded.others)
    source = _of_array(loaded.images, name, what, asked, taken)
    source.labels = loaded.labels
    source.file = file
    source = _cut(source, asked)
    taken.whole = taken.whole if loaded.total is None else loaded.total
    return source
