"""Inputs and outputs of the tasks, streamed: images are read ahead in a thread, results are written behind in another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from aepipe._types import Array
from aepipe.errors import BadInput
from aepipe.files.staged import Staged
from aepipe.images.batches import Batch, batches
from aepipe.images.data import open_images
from aepipe.images.source import Source
from aepipe.progress import progress, say
from aepipe.runtime.model import Model
from aepipe.runtime.providers import FirstAvailable

from .shards import Shard, Shared
from .writers import ArrayWriter, Background, CsvWriter, FolderWriter

SHEET = 48  # so many images are on a contact sheet if --limit is not given

Compute = Callable[[Batch], Array]


class Input:
    """An input in the shape of the model, and how to read it."""

    def __init__(
        self,
        what: str,
        model: Model,
        *,
        split: str | None,
        limit: int | None,
        skip_bad: bool,
        shard: Shard | None = None,
    ):
        self.what, self.model, self.shard = what, model, shard
        self.split, self.limit, self.skip_bad = split or "test", limit, skip_bad
        self.bad = 0

    def open(self, *graphs: str) -> None:
        """Open the input and load these graphs. A provider that was named comes first, before any download; `auto`, which
        always finds one and says which, comes last, so that a bad input's error stands alone."""
        if not isinstance(self.model.provider, FirstAvailable):
            self.model.start(*graphs)
        self.source = open_images(self.what, split=self.split, shape=self.model.shape, limit=self.limit)
        self.model.start(*graphs)

    def read(self, what: str) -> Iterator[Batch]:
        """Batches of this run's part, with progress and a count of the images that were left out."""
        part = None if self.shard is None else self.shard.part(len(self.source))
        reading: dict[str, Any] = {"part": part, "skip_bad": self.skip_bad, "on_bad": self._note}
        with progress(what, len(self.source if part is None else part)) as advance:
            for batch in batches(self.source, self.model.batch_size, **reading):
                yield batch
                advance(len(batch.indices))
        if self.bad:
            say(f"skipped {self.bad} bad images")

    def _note(self, index: int, error: BadInput) -> None:
        self.bad += 1
        say(f"skipped: {error.message}")

    def for_sheet(self) -> str:
        """Keep what a contact sheet shows; returns what to say of the rest."""
        total = len(self.source)
        if self.limit is None:
            self.source = self.source.cut(slice(SHEET))
        return first_of(len(self.source), total)

    def first(self, count: int) -> Array:
        """The first images that can be read, `count` or fewer."""
        if not self.skip_bad:
            self.source = self.source.cut(slice(count))
        found = []
        for batch in self.read("reading"):
            found.append(batch.images)
            if sum(map(len, found)) >= count:
                break
        return np.concatenate(found)[:count]


@contextmanager
def image_writer(
    out: str, kind: str, names: Any, row: tuple[int, ...], *, key: str = "images", shard: Shard | None = None
) -> Iterator[Callable[[Array, Array], None]]:
    """Yield `write(indices, images)`, behind which a thread writes to a folder or to one array of rows of shape `row`."""
    with ExitStack() as stack:
        if kind == "folder":
            folder = FolderWriter(out, names, Staged if shard is None else Shared)
            yield stack.enter_context(Background(stack.enter_context(folder))).put
        else:
            array = stack.enter_context(Background(stack.enter_context(ArrayWriter(out, key, row))))
            yield lambda indices, rows: array.put(rows)


def names_of(source: Source) -> Any:
    """What the files of a folder OUT are called: as the input's, or numbered."""
    return source.paths if source.paths is not None else lambda index: f"{index:06d}.png"


def stream(given: Input, out: str, kind: str, what: str, compute: Compute, row: tuple[int, ...], **more: Any) -> None:
    """All batches through `compute`, which gives rows of this shape, to a folder or an array."""
    start, count = time.monotonic(), 0
    with image_writer(out, kind, names_of(given.source), row, shard=given.shard, **more) as write:
        for batch in given.read(what):
            write(batch.indices, compute(batch))
            count += len(batch.indices)
    done(out, count, speed=count / (time.monotonic() - start))


def table(given: Input, out: str, what: str, columns: list[str], compute: Callable[[Batch], dict[str, Array]]) -> None:
    """One line per image: its index, its path where there are files, and the columns that `compute` gives."""
    paths = given.source.paths
    with CsvWriter(out, ["index", *(["path"] if paths else []), *columns]) as writer:
        count = 0
        for batch in given.read(what):
            named = {"path": [paths[index] for index in batch.indices]} if paths else {}
            writer.write({"index": batch.indices, **named, **compute(batch)})
            count += len(batch.indices)
    done(out, count)


def collect(given: Input, what: str, compute: Compute) -> tuple[Array, Array]:
    """The images and what is computed from them, for a figure."""
    pairs = [(batch.images, compute(batch)) for batch in given.read(what)]
    return np.concatenate([images for images, _ in pairs]), np.concatenate([result for _, result in pairs])


def first_of(shown: int, total: int) -> str:
    """The remark that a sheet does not show all images; "" if it does."""
    return f", the first of {total}: --limit N shows more, a folder or .npy holds all" if shown < total else ""


def done(out: str, count: int, unit: str = "images", *, speed: float | None = None, note: str = "") -> None:
    """The last line: what was written where."""
    rate = f", {speed:,.0f} images/s" if speed else ""
    if out != "-":
        say(f"{out}: {count} {unit if count != 1 else unit.removesuffix('s')}{rate}{note}")
