"""Inputs and outputs of the tasks, streamed: images are read ahead in a thread, results are written behind in another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from aepipe._types import Array
from aepipe.bundle.manifest import Role
from aepipe.errors import BadInput
from aepipe.files.staged import Staged
from aepipe.images.batches import Batch, batches
from aepipe.images.data import open_images
from aepipe.images.ranges import as_raw
from aepipe.images.source import Source
from aepipe.progress import progress, say
from aepipe.runtime.model import Model
from aepipe.runtime.providers import FirstAvailable
from aepipe.space import Raw, Sides

from .shards import Out, Shard, Shared, part_of
from .writers import ArrayWriter, Background, CsvWriter, FolderWriter

RUNS = 1000  # so many runs of indices are listed
SHEET = 48  # so many images are on a contact sheet if --limit is not given

Compute = Callable[[Batch], Array]


@dataclass(frozen=True)
class Reading:
    """How a task reads its inputs, whichever they are."""

    split: str | None = None  # test, unless the user says otherwise
    limit: int | None = None
    skip_bad: bool = False
    shard: Shard | None = None
    layout: str | None = None  # of arrays
    clip: bool = False  # values that leave the model's range

    def open(self, what: str, model: Model, *graphs: Role, whole: bool = False) -> Input:
        """Open an input in the shape of the model and load these graphs; with `whole` images keep their own sizes.

        A provider that was named is started first, before any download. `auto`, which always finds one and says which, is
        started last, so that the error of a bad input stands alone. Raises BadInput and ProviderUnavailable.
        """
        if not isinstance(model.provider, FirstAvailable):
            model.start(*graphs)
        shape = None if whole else model.shape
        asked: dict[str, Any] = {
            "layout": self.layout,
            "raw": replace(model.raw, clip=True) if model.raw and self.clip else model.raw,
        }
        source = open_images(what, split=self.split or "test", shape=shape, limit=self.limit, **asked)
        model.start(*graphs)
        say(source.describe(whole=whole))
        if note := source.read_otherwise(model.bundle.trained):
            say(note)
        return Input(source, model, self)


class Input:
    """An open input, and how it is read."""

    def __init__(self, source: Source, model: Model, reading: Reading):
        self.source, self.model, self.reading = source, model, reading
        self.bad: list[int] = []

    @property
    def part(self) -> range:
        """The indices that this run takes: all, or those of its shard."""
        return part_of(len(self.source), self.reading.shard)

    def read(self, what: str) -> Iterator[Batch]:
        """Batches of this run's part, with progress and a count of the images that were left out."""
        part = None if self.reading.shard is None else self.part
        options: dict[str, Any] = {"part": part, "skip_bad": self.reading.skip_bad, "on_bad": self._note}
        with progress(what, len(self.part)) as advance:
            for batch in batches(self.source, self.model.batch_size, **options):
                yield batch
                advance(len(batch.indices))
        self._say_bad()

    def read_whole(self, what: str) -> Iterator[tuple[int, Array]]:
        """The images of this run's part one by one, each [C, H, W] at its own size, with their indices."""
        with progress(what, len(self.part)) as advance:
            for index in self.part:
                try:
                    yield index, self.source.read_whole(index)
                except BadInput as error:
                    if not self.reading.skip_bad:
                        raise
                    self._note(index, error)
                advance(1)
        self._say_bad()
        if self.bad and len(self.bad) == len(self.part) and self.reading.shard is None:
            raise BadInput(f"none of the {len(self.bad)} images in {self.source.name} can be read", "see above why")

    def _note(self, index: int, error: BadInput) -> None:
        self.bad.append(index)
        say(f"skipped: {error.message}")

    def _say_bad(self) -> None:
        if self.bad:
            say(f"skipped {len(self.bad)} bad images: {_runs(self.bad)}")

    def for_sheet(self) -> str:
        """Keep what a contact sheet shows; returns what to say of the rest."""
        total = len(self.source)
        if self.reading.limit is None:
            self.source = self.source.cut(slice(SHEET))
        return first_of(len(self.source), total)

    def first(self, count: int) -> Array:
        """The first images that can be read, `count` or fewer."""
        if not self.reading.skip_bad:
            self.source = self.source.cut(slice(count))
        found = []
        for batch in self.read("reading"):
            found.append(batch.images)
            if sum(map(len, found)) >= count:
                break
        return np.concatenate(found)[:count]


@contextmanager
def image_writer(
    out: Out, names: Any, row: Sides, *, key: str = "images", labelled: bool = False, raw: Raw | None = None
) -> Iterator[Callable[[Array, Array], None]]:
    """Yield `write(indices, images)`, behind which a thread writes to a folder or to one array of rows of shape `row`.

    With `raw` an array holds raw values, of their own type and in their own units. With `labelled` an .npz also says which
    images its rows belong to.
    """
    with ExitStack() as stack:
        if out.kind == "folder":
            folder = FolderWriter(out.path, names, Staged if out.shard is None else Shared)
            yield stack.enter_context(Background(stack.enter_context(folder))).put
        else:
            writer = stack.enter_context(ArrayWriter(out.path, key, row))
            array = stack.enter_context(Background(writer))

            def write(indices: Array, rows: Array) -> None:
                if labelled:
                    writer.label(indices, None if callable(names) else [names[index] for index in indices])
                array.put(rows if raw is None else as_raw(rows, raw))

            yield write


def names_of(source: Source) -> Any:
    """What the files of a folder OUT are called: as the input's, or numbered."""
    return source.paths if source.paths is not None else lambda index: f"{index:06d}.png"


def stream(given: Input, out: Out, what: str, compute: Compute, row: Sides, **more: Any) -> None:
    """All batches through `compute`, which gives rows of this shape, to a folder or an array."""
    start, count = time.monotonic(), 0
    with image_writer(out, names_of(given.source), row, labelled=True, **more) as write:
        for batch in given.read(what):
            write(batch.indices, compute(batch))
            count += len(batch.indices)
    done(out, count, speed=count / (time.monotonic() - start))


def table(given: Input, out: Out, what: str, columns: list[str], compute: Callable[[Batch], dict[str, Array]]) -> None:
    """One line per image: its index, its path where there are files, and the columns that `compute` gives."""
    paths = given.source.paths
    with CsvWriter(out.path, ["index", *(["path"] if paths else []), *columns]) as writer:
        count = 0
        for batch in given.read(what):
            named = {"path": [paths[index] for index in batch.indices]} if paths else {}
            writer.write({"index": batch.indices, **named, **compute(batch)})
            count += len(batch.indices)
    done(out, count)


def _runs(indices: list[int]) -> str:
    """Indices in a few words: index 2, 5–7."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], index]
        else:
            runs.append([index])
    shown = ["–".join(map(str, run)) for run in runs[:RUNS]]
    return "index " + ", ".join(shown + ["…"] * (len(runs) > RUNS))


def collect(given: Input, what: str, compute: Compute) -> tuple[Array, Array]:
    """The images and what is computed from them, for a figure."""
    pairs = [(batch.images, compute(batch)) for batch in given.read(what)]
    return np.concatenate([images for images, _ in pairs]), np.concatenate([result for _, result in pairs])


def first_of(shown: int, total: int) -> str:
    """The remark that a sheet does not show all images; "" if it does."""
    return f", the first of {total}: --limit N shows more, a folder or .npy holds all" if shown < total else ""


def done(out: Out, count: int, unit: str = "images", *, speed: float | None = None, note: str = "") -> None:
    """The last line: what was written where."""
    rate = f", {speed:,.0f} images/s" if speed else ""
    if out.path != "-":
        say(f"{out.path}: {count} {unit if count != 1 else unit.removesuffix('s')}{rate}{note}")
