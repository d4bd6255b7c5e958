"""Checks of data sets. They need NumPy alone; the data must be there, or loadable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aepipe.errors import AepipeError, BadInput, one_line
from aepipe.images.arrays import Images, array_images, as_array
from aepipe.space import AXES, DTYPES, KINDS

from .report import Finding, NotApplicable, Subject, Unbuilt, require, trying, without_torch

SPLITS = ("train", "test")
UNKNOWN = "no-such-split"
SOME = 64


def loaded(subject: Subject, split: str) -> Images:
    """A split as aepipe reads it; if that fails, the check `loads_both_splits` reports it."""

    def load() -> Images:
        return readable(subject.make().load(split))

    try:
        return subject.once(split, load)
    except (NotApplicable, Finding):
        raise
    except Exception as error:
        raise Unbuilt(f"load({split!r}) fails: see loads_both_splits") from error


def readable(given: Any) -> Images:
    """What has a read as it is, an array as samples [N, C, *sides]: a data set's layout is never guessed."""
    if hasattr(given, "read"):
        return given
    array = as_array(given, "what load gives")
    return array_images(array, None, "the array", AXES[KINDS[array.ndim - 2]] if 2 <= array.ndim <= 5 else None)


def loads_both_splits(subject: Subject) -> None:
    """load("train") and load("test") give samples [N, C, *sides] of one shape."""
    for split in SPLITS:
        try:
            images = loaded(subject, split)
        except Unbuilt as error:
            cause = error.__cause__ or error
            text = cause.message if isinstance(cause, AepipeError) else one_line(cause)
            change = (
                "return an array [N, C, *sides] (uint8, or floats in 0..1), or an object with shape, __len__ and read"
            )
            hint = cause.hint if isinstance(cause, AepipeError) and cause.hint else change
            raise Finding(f"load({split!r}) fails: {text}", hint) from cause
        with trying(
            f"asking load({split!r}) for its size", "what has read(indices) has shape (C, *sides) and a length too"
        ):
            count, shape = len(images), tuple(images.shape)
        require(count > 0, f"load({split!r}) gives no images", "both splits hold images")
        right = 1 <= len(shape) <= 4 and all(isinstance(side, (int, np.integer)) and side > 0 for side in shape)
        require(
            right,
            f"the shape of load({split!r}) is {shape}",
            "`shape` is (channels, *sides) of every sample, with 0 to 3 sides",
        )
        last = len(shape) > 2 and shape[-1] <= 4 < shape[0]
        require(
            not last,
            f"the samples of load({split!r}) have {shape[0]} channels and a side of {shape[-1]}",
            "channels come first: [N, C, H, W]",
        )
    train, test = (tuple(loaded(subject, split).shape) for split in SPLITS)
    require(train == test, f"the splits differ in shape: {list(train)} and {list(test)}", "give all images one shape")


def reads_right_values(subject: Subject) -> None:
    """read gives samples [n, C, *sides] which are not all equal: uint8 or float32 in 0..1, or finite numbers where the data set
    has a `range`."""
    given = getattr(subject.make(), "range", None)
    for split in SPLITS:
        images = loaded(subject, split)
        what = f"read of load({split!r})"
        indices = np.unique(np.linspace(0, len(images) - 1, SOME).astype(np.int64))
        with trying(what, "read(indices) takes an integer array and gives the images at these places"):
            values = images.read(indices)
        wanted = (len(indices), *images.shape)
        require(isinstance(values, np.ndarray), f"{what} gives {type(values).__name__}", "return a NumPy array")
        require(values.shape == wanted, f"{what} gives shape {list(values.shape)}", f"the contract is {list(wanted)}")
        if given is None:
            _check_plain(what, values)
        else:
            require(values.dtype.name in DTYPES, f"{what} gives {values.dtype}", "return real numbers")
            finite = values.dtype.kind != "f" or bool(np.isfinite(values).all())
            require(finite, f"{what} gives NaN or infinity", "replace them, or leave these samples out")
        change = "check scaling and type: uint8 goes to 255, floats to 1"
        require(len(values) == 1 or (values != values[0]).any(), f"{what} gives the same image everywhere", change)
        dark = given is None and values.dtype == np.uint8 and int(values.max()) <= 1
        require(not dark, f"{what} gives uint8 from 0 to {int(values.max())}", change)


def _check_plain(what: str, values: np.ndarray) -> None:
    """uint8, or float32 in 0..1."""
    right = values.dtype in (np.uint8, np.float32)
    raw = 'or say what the values are by an attribute `range` of the data set: "none", or (low, high)'
    require(right, f"{what} gives {values.dtype}", f"return uint8 in 0..255, or float32 in 0..1, {raw}")
    if values.dtype == np.float32:
        low, high = float(values.min()), float(values.max())
        inside = bool(low >= 0 and high <= 1)  # NaN fails both
        change = "divide by 255" if low >= 0 and 2 < high <= 255 else "scale to 0..1"
        require(inside, f"{what} gives values from {low:.4g} to {high:.4g}", f"{change}, {raw}")


def reads_in_any_order(subject: Subject) -> None:
    """read gives the images that were asked for, also backwards, repeated, or a single one."""
    for split in SPLITS:
        images = loaded(subject, split)
        last = len(images) - 1
        orders = ([last, 0], [0, 0, min(1, last)], [last], sorted({0, last // 2, last}))
        one = {index: images.read(np.array([index])) for order in orders for index in order}
        for order in orders:
            with trying(f"read({order}) of load({split!r})", "take any order, repetitions included"):
                values = images.read(np.array(order))
            same = len(values) == len(order) and all(
                np.array_equal(v[None], one[i]) for v, i in zip(values, order, strict=True)
            )
            change = "return the images in the order of `indices`, one for each"
            require(same, f"read({order}) of load({split!r}) is not what each index alone gives", change)


def has_fitting_labels(subject: Subject) -> None:
    """labels(split), if the data set has it, gives as many labels as there are images."""
    dataset = subject.make()
    if not hasattr(dataset, "labels"):
        raise NotApplicable("it has no labels")
    for split in SPLITS:
        count = len(loaded(subject, split))
        with trying(f"labels({split!r})", "return one label an image, or None"):
            labels = dataset.labels(split)
        if labels is None:
            continue
        labels = np.asarray(labels)
        right = labels.shape == (count,)
        require(
            right,
            f"labels({split!r}) has shape {list(labels.shape)} for {count} images",
            "return one label an image, in their order",
        )
        plain = labels.dtype.kind in "iufbU"
        require(plain, f"labels({split!r}) holds {labels.dtype}", "return numbers or strings: objects cannot be stored")


def has_two_splits(subject: Subject) -> None:
    """The test images are not the training images."""
    train, test = (loaded(subject, split) for split in SPLITS)
    some = np.arange(min(len(train), len(test), SOME))
    same = len(train) == len(test) and np.array_equal(train.read(some), test.read(some))
    require(not same, "load('test') gives the training images", "hold some images out for the test split")


def refuses_unknown_splits(subject: Subject) -> None:
    """A split that does not exist is the caller's mistake: load raises ValueError or one of aepipe's errors."""
    change = f"raise ValueError for a split other than {SPLITS[0]!r} and {SPLITS[1]!r}"
    try:
        subject.make().load(UNKNOWN)
    except (ValueError, AepipeError):
        return
    except Exception as error:
        raise Finding(f"load({UNKNOWN!r}) raises {one_line(error)}", change) from error
    raise Finding(f"load({UNKNOWN!r}) gives images", change)


def is_the_same_each_time(subject: Subject) -> None:
    """A data set that is made and loaded again gives the same images in the same order, and the same labels."""
    dataset = subject.make()
    change = "fix the order, and seed whatever is drawn"
    for split in SPLITS:
        images = loaded(subject, split)
        again = readable(dataset.load(split))
        some = np.linspace(0, len(images) - 1, SOME).astype(np.int64)
        same = len(again) == len(images) and np.array_equal(images.read(some), again.read(some))
        require(same, f"load({split!r}) gives other images the second time", change)
        if hasattr(dataset, "labels"):
            same = np.array_equal(dataset.labels(split), dataset.labels(split))
            require(same, f"labels({split!r}) gives other labels the second time", change)


def works_without_torch(subject: Subject) -> None:
    """It loads where torch is not installed: inference reads data sets too."""
    loaded(subject, "test")

    def load() -> Any:
        try:
            return subject.make().load("test")
        except BadInput:  # this error tells the user what is missing
            return None

    with without_torch(), trying("without torch", "read with NumPy and Pillow: the runtime has no torch"):
        load()


CHECKS: list[Callable[[Subject], None]] = [
    loads_both_splits,
    reads_right_values,
    reads_in_any_order,
    has_fitting_labels,
    has_two_splits,
    refuses_unknown_splits,
    is_the_same_each_time,
    works_without_torch,
]
