"""Checks of readers: which files they take, and that what their own writer writes is read as the same numbers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aepipe.errors import BadInput
from aepipe.images.arrays import array_images
from aepipe.images.objects import is_array, is_images
from aepipe.space import AXES, KINDS

from .report import Finding, NotApplicable, Subject, Unbuilt, require, trying

COUNT = 3  # samples in a file
SHAPES = ((1, 8, 9), (2, 16))
VOLUME = (1, 4, 5, 6)  # for writers that take neither images nor signals
TYPES = (np.uint16, np.float32)


def names_endings(subject: Subject) -> None:
    """The attribute `endings` of the factory holds the endings of its files: lower case, each with its dot."""
    endings = getattr(subject.factory, "endings", None)
    right = isinstance(endings, tuple | list) and endings and all(map(_is_ending, endings))
    require(right, f"its endings are {endings!r}", 'give the factory an attribute such as endings = (".abc",)')


def _is_ending(each: Any) -> bool:
    return isinstance(each, str) and each.startswith(".") and len(each) > 1 and each == each.lower()


def leaves_others_alone(subject: Subject) -> None:
    """For a path that it cannot read the factory gives None, or the error of aepipe that says why."""
    with tempfile.TemporaryDirectory() as folder:
        for path in (Path(folder, "nothing"), Path(folder, "text.txt")):
            if path.suffix:
                path.write_text("no samples")
            try:
                made = subject.make(str(path))
                if made is not None:
                    made.load("train")
            except (BadInput, Unbuilt, NotApplicable):  # how a damaged file is refused
                continue
            except Exception as error:
                raise Finding(
                    f"{path.name} fails with {type(error).__name__}", "return None, or raise BadInput"
                ) from error
            require(made is None, f"it takes {path.name}, which holds no samples", "return None for what is not yours")


def reads_what_it_writes(subject: Subject) -> None:
    """What `writer(path)` wrote is read as the same numbers, in any order."""
    writer = getattr(subject.factory, "writer", None)
    if writer is None:
        raise NotApplicable("it has no writer")
    tried = 0
    for shape in (*SHAPES, VOLUME):
        if shape == VOLUME and tried:  # other files may hold volumes, and need an option to read them as such
            break
        for dtype in TYPES:
            samples = (np.random.default_rng(0).random((COUNT, *shape)) * 1000).astype(dtype)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, f"written{subject.factory.endings[0]}")  # type: ignore[attr-defined]
                if _written(writer, path, samples):
                    tried += 1
                    _check_read(subject, path, samples)
    require(
        tried, "its writer refuses every sample", "take [n, C, L], [n, C, H, W] or [n, C, D, H, W], or have no writer"
    )


def _written(writer: Callable[[Path], Any], path: Path, samples: np.ndarray) -> bool:
    """Whether the writer takes these samples, which come in two parts. Where a package is missing that it needs, and the error
    says so by its cause, there is nothing to check."""
    with trying("writing", "raise BadInput for samples that the files cannot hold"):
        try:
            with writer(path) as file:
                file.write(samples[:1])
                file.write(samples[1:])
        except BadInput as error:
            if isinstance(error.__cause__, ImportError):
                raise NotApplicable(error.message) from None
            return False
    return True


def _check_read(subject: Subject, path: Path, samples: np.ndarray) -> None:
    order = np.array([2, 0, 1, 0])
    with trying("reading what was written", "read the files that the writer makes"):
        given = subject.make(str(path)).load("train")
        usable = is_images(given) or is_array(given) or isinstance(given, list)
        require(usable, f"load gives a {type(given).__name__}, which is no array", "give it a method __array__")
        axes = AXES[KINDS[samples.ndim - 2]]
        read = given if hasattr(given, "read") else array_images(given, None, "the file", axes, lazy=True)
        values = read.read(order)
    same = values.dtype == samples.dtype and np.array_equal(values, samples[order])
    require(
        same,
        f"{samples.dtype} samples {list(samples.shape)} are not read as they were written",
        "keep numbers, type and order: [n, C, *sides]",
    )


CHECKS: list[Callable[[Subject], None]] = [names_endings, leaves_others_alone, reads_what_it_writes]
