"""Images in batches, read ahead in a thread."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from aepipe._types import Array
from aepipe.errors import BadInput

from .pixels import as_float

if TYPE_CHECKING:
    from .source import Source

CHUNK = 1 << 20  # about so many bytes of float images are read at once, but at least one batch

TOGETHER = 16  # samples of own sizes that are read at once

T = TypeVar("T")
Bad = tuple[int, BadInput]  # the index of an image that cannot be read, and the error


class Batch(NamedTuple):
    """Some images and their indices in the source."""

    indices: np.ndarray  # int64 [n]
    images: np.ndarray  # [n,C,H,W] float32 in 0..1, C-contiguous (from raw_batches also uint8)


def in_parts(values: Array, size: int) -> Iterator[Array]:
    """An array in parts of `size` rows, the last one shorter; each is C-contiguous."""
    for start in range(0, len(values), size):
        yield np.ascontiguousarray(values[start : start + size])


def batches(
    source: Source,
    batch_size: int,
    *,
    parts: Sequence[range] | None = None,
    skip_bad: bool = False,
    on_bad: Callable[[int, BadInput], None] | None = None,
) -> Iterator[Batch]:
    """All images in order as float32 in 0..1, read ahead in a thread. Raises BadInput where an image cannot be read.

    With `skip_bad` such images are left out, and `on_bad(index, error)` is called for each, in the caller's thread. With
    `parts` only the images of these indices are read. Without `parts` it is an error if no image at all can be read.
    """
    return _read_ahead(source, batch_size, parts, skip_bad, on_bad, as_float)


def one_by_one(
    source: Source, *, skip_bad: bool = False, on_bad: Callable[[int, BadInput], None] | None = None
) -> Iterator[Batch]:
    """All images of files, each at its own size, as batches of one; else like `batches`."""
    read = 0
    for index in range(len(source)):
        try:
            image = as_float(source.read_whole(index)[None])
        except BadInput as error:
            if not skip_bad:
                raise
            if on_bad is not None:
                on_bad(index, error)
            continue
        read += 1
        yield Batch(np.array([index]), image)
    if not read:
        message = f"none of the {len(source)} images in {source.name} can be read"
        raise BadInput(message, "without --skip-bad the first one's error is shown")


def own_size_batches(
    source: Source,
    *,
    check: Callable[[np.ndarray], None],
    skip_bad: bool = False,
    on_bad: Callable[[int, BadInput], None] | None = None,
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """All samples of a source of own sizes, [C, *sides] as the source has them, several at a time, with their indices.

    A sample for which `check` raises BadInput counts as one that cannot be read.
    """

    def read(indices: np.ndarray) -> list[np.ndarray]:
        images = source.read_each(indices)
        for index, image in zip(indices, images, strict=True):
            try:
                check(image)
            except BadInput as error:
                name = f"index {index} of {source.name}" if source.paths is None else source.paths[index]
                raise BadInput(f"{name}: {error.message}", error.hint) from None
        return images

    def parts() -> Iterator[tuple[list[int], list[np.ndarray], list[Bad]]]:
        for start in range(0, len(source), TOGETHER):
            indices = list(range(start, min(start + TOGETHER, len(source))))
            bad: list[Bad] = []
            try:
                yield indices, read(np.array(indices)), bad
                continue
            except BadInput:
                if not skip_bad:
                    raise
            images = []
            for index in list(indices):
                try:
                    images += read(np.array([index]))
                except BadInput as error:
                    bad.append((index, error))
                    indices.remove(index)
            yield indices, images, bad

    with closing(prefetch(parts(), depth=1)) as ahead:
        for indices, images, bad in ahead:
            for index, error in bad:
                if on_bad is not None:
                    on_bad(index, error)
            yield np.array(indices, np.int64), images


def raw_batches(
    source: Source,
    batch_size: int,
    *,
    skip_bad: bool = False,
    on_bad: Callable[[int, BadInput], None] | None = None,
) -> Iterator[Batch]:
    """Like `batches`, but with images as the source has them: uint8, or float32 in 0..1."""
    return _read_ahead(source, batch_size, None, skip_bad, on_bad, np.ascontiguousarray)


def _read_ahead(
    source: Source,
    batch_size: int,
    parts: Sequence[range] | None,
    skip_bad: bool,
    on_bad: Callable[[int, BadInput], None] | None,
    convert: Callable[[np.ndarray], np.ndarray],
) -> Iterator[Batch]:
    if batch_size < 1:
        raise BadInput(f"the batch size is {batch_size}", "a batch size is 1 or more")
    read = 0
    wanted = [range(len(source))] if parts is None else parts
    chunks = chain.from_iterable(_read_chunks(source, part, batch_size, skip_bad, convert) for part in wanted)
    with closing(prefetch(chunks)) as ahead:
        for batch, bad in chain.from_iterable(ahead):
            for index, error in bad:
                if on_bad is not None:
                    on_bad(index, error)
            read += len(batch.indices)
            if len(batch.indices):
                yield batch
    if not read and parts is None:
        message = f"none of the {len(source)} images in {source.name} can be read"
        raise BadInput(message, "without --skip-bad the first one's error is shown")


def _read_chunks(
    source: Source, part: range, batch_size: int, skip_bad: bool, convert: Callable[[np.ndarray], np.ndarray]
) -> Iterator[Iterable[tuple[Batch, list[Bad]]]]:
    """Yield batches, several at a time if they are small: starting a read and handing it over takes longer than the reading."""
    step = batch_size * max(1, CHUNK // (batch_size * 4 * math.prod(source.shape)))
    with closing(prefetch(_raw_chunks(source, part, step), depth=1)) as ahead:
        for own, raw in ahead:
            indices = np.arange(own.start, own.stop)
            try:
                images = None if raw is None else convert(source.for_graphs(raw, indices))
            except BadInput:
                images = None
            del raw  # or it would lie beside the next one
            if images is None:  # read again, batch by batch: the batches before the bad image are good
                yield from ([batch] for batch in _read_batches(source, own, batch_size, skip_bad, convert))
            else:
                starts = range(0, len(own), batch_size)
                yield [(Batch(indices[k : k + batch_size], images[k : k + batch_size]), []) for k in starts]


def _raw_chunks(source: Source, part: range, step: int) -> Iterator[tuple[range, Array | None]]:
    """The samples as they are, `step` at a time, which a thread reads while those before are converted; None where one cannot
    be read."""
    for start in part[::step]:
        own = range(start, min(start + step, part.stop))
        try:
            raw = source.read_raw(np.arange(own.start, own.stop))
        except BadInput:
            raw = None
        yield own, raw


def _read_batches(
    source: Source, part: range, batch_size: int, skip_bad: bool, convert: Callable[[np.ndarray], np.ndarray]
) -> Iterator[tuple[Batch, list[Bad]]]:
    for start in part[::batch_size]:
        indices = np.arange(start, min(start + batch_size, part.stop))
        bad: list[Bad] = []
        try:
            images = source.read(indices)
        except BadInput:
            if not skip_bad:
                raise
            indices, images = _read_good(source, indices, bad)
        yield Batch(indices, convert(images)), bad


def _read_good(source: Source, indices: np.ndarray, bad: list[Bad]) -> tuple[np.ndarray, np.ndarray]:
    """Read image by image; those that cannot be read are added to `bad`."""
    good: list[int] = []
    images: list[np.ndarray] = []
    for index in indices:
        try:
            images.append(source.read(np.array([index])))
            good.append(index)
        except BadInput as error:
            bad.append((int(index), error))
    return np.array(good, np.int64), np.concatenate(images) if images else np.empty((0, *source.shape), np.float32)


def prefetch(items: Iterable[T], depth: int = 2) -> Generator[T, None, None]:
    """Yield the items in order, while a thread makes up to `depth` of them ahead.

    An error of the iterator is raised here, after the items before it. The thread ends when the consumer stops early.
    """
    # SimpleQueues keep no lock when a signal comes in the middle of a call, as a semaphore would: the end would wait for ever.
    room, ready, stop = queue.SimpleQueue[None](), queue.SimpleQueue[Any](), False
    for _ in range(depth):
        room.put(None)

    def work() -> None:
        try:
            iterator = iter(items)
            while room.get() is None and not stop:
                ready.put((True, next(iterator)))
        except StopIteration:
            ready.put((False, None))
        except BaseException as error:  # every error, of whatever kind, goes to the consumer
            ready.put((False, error))

    thread = threading.Thread(target=work, name="aepipe-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            more, item = ready.get()
            if more:
                room.put(None)
                yield item
            elif item is None:
                return
            else:
                raise item
    finally:
        stop = True
        room.put(None)
        thread.join()
