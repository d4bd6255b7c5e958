"""Inputs and outputs of the tasks, streamed: images are read ahead in a thread, results are written behind in another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from aepipe._types import Array
from aepipe.bundle.manifest import Role
from aepipe.errors import BadInput
from aepipe.files.partial import Partial
from aepipe.images.batches import Batch, batches
from aepipe.images.data import check_asked, open_images
from aepipe.images.pixels import as_float
from aepipe.images.ranges import as_raw, clipped
from aepipe.images.readers import written_endings
from aepipe.images.source import Source
from aepipe.progress import progress, say
from aepipe.runtime.model import Model
from aepipe.runtime.providers import FirstAvailable
from aepipe.space import Raw, Sides

from .jobs import Job, made_of
from .shards import Out, Shard, part_of
from .writers import ArrayWriter, Background, CsvWriter, FolderWriter, FormWriter

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
        return self.open_all([what], model, *graphs, whole=whole)[0]

    def open_all(self, inputs: Sequence[str], model: Model, *graphs: Role, whole: bool = False) -> list[Input]:
        """The same for the inputs of one task; how they are read must mean something to one of them."""
        if not isinstance(model.provider, FirstAvailable):
            model.start(*graphs)
        asked: dict[str, Any] = {"shape": None if whole else model.shape, "raw": clipped(model.raw, self.clip)}
        asked |= {"split": self.split or "test", "limit": self.limit, "layout": self.layout}
        sources = [open_images(each, **asked) for each in inputs]
        check_asked(self.split, self.layout, *sources)
        model.start(*graphs)
        for source in sources:
            say(source.describe(whole=whole or (not model.space.fixed and source.own_sizes)))
            if note := source.read_otherwise(model.bundle.trained):
                say(note)
        return [Input(source, model, self) for source in sources]


class Input:
    """An open input, and how it is read."""

    def __init__(self, source: Source, model: Model, reading: Reading):
        self.source, self.model, self.reading = source, model, reading

    @property
    def part(self) -> range:
        """The indices that this run takes: all, or those of its shard."""
        return part_of(len(self.source), self.reading.shard)

    @property
    def own_sizes(self) -> bool:
        """Whether images come one by one, each at its own size, because the model takes any."""
        return not self.model.space.fixed and self.source.own_sizes

    def job(self, out: Out, task: str, options: dict[str, Any], *, one_by_one: bool = False) -> Job:
        """This run's part of a task with these options, of which a folder OUT may have a beginning."""
        step = 1 if one_by_one else self.model.batch_size
        if out.kind != "folder":
            return Job(self.part, step)
        known = made_of(self.model, task, self.source.state(), self.part, options)
        return Job(self.part, step, skip_bad=self.reading.skip_bad, made_of=known)

    def read(self, what: str, job: Job | None = None) -> Iterator[Batch]:
        """Batches of what this run is to compute, with progress and a count of the images that were left out."""
        job = job or Job(self.part, 1 if self.own_sizes else self.model.batch_size)
        if self.own_sizes:
            for index, image in self.read_whole(what, job):
                yield Batch(np.array([index]), as_float(image[None]))
            return
        options: dict[str, Any] = {"parts": job.todo, "skip_bad": self.reading.skip_bad, "on_bad": job.skip}
        with progress(what, job.left) as advance:
            for batch in batches(self.source, self.model.batch_size, **options):
                yield batch
                advance(len(batch.indices))
        self._end(job)

    def read_whole(self, what: str, job: Job) -> Iterator[tuple[int, Array]]:
        """The images that this run is to compute one by one, each [C, H, W] at its own size, with their indices."""
        with progress(what, job.left) as advance:
            for index in chain.from_iterable(job.todo):
                try:
                    yield index, self.source.read_whole(index)
                except BadInput as error:
                    if not self.reading.skip_bad:
                        raise
                    job.skip(index, error)
                advance(1)
        self._end(job)

    def _end(self, job: Job) -> None:
        """Say which images were left out; raises BadInput if it was every one."""
        if job.bad:
            say(f"skipped {len(job.bad)} bad images: {_runs(list(job.bad))}")
        if job.bad and len(job.bad) == len(self.part) and self.reading.shard is None:
            raise BadInput(f"none of the {len(job.bad)} images in {self.source.name} can be read", "see above why")

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
        return joined(found, "give images of one size")[:count]


@contextmanager
def image_writer(
    out: Out,
    names: Any,
    row: Sides,
    *,
    job: Job | None = None,
    array: ArrayWriter | None = None,
    labelled: bool = False,
    raw: Raw | None = None,
    source: Source | None = None,
) -> Iterator[Callable[[Array, Array], None]]:
    """Yield `write(indices, images)`, behind which a thread writes to a folder or to one array of rows of shape `row`.

    With `raw` an array holds raw values, of their own type and in their own units; `array` is another writer for it. So do files
    of a reader's form: a file OUT of its ending, or a folder where the input `source` is of such files; without `raw` these have
    the source's type. With `labelled` an .npz also says which images its rows belong to. A `job` to a folder continues where one
    that was stopped has ended; then `job.todo` says what is to be written.
    """
    with ExitStack() as stack:
        if out.kind == "folder":
            partial = Partial(out.path, job.made_of, out.part) if job else None
            form = source.writing if source else None
            folder = FolderWriter(out.path, names, partial, form)
            if job and partial:
                stack.enter_context(job.continuing(partial, folder.name))
            put = stack.enter_context(Background(stack.enter_context(folder))).put
            own = raw or raw_of_source(source)
            yield (lambda indices, rows: put(indices, as_own(rows, own))) if form else put
        elif form := written_endings().get(f".{out.kind}"):
            file = stack.enter_context(Background(stack.enter_context(FormWriter(out.path, form))))
            own = raw or raw_of_source(source)
            yield lambda _, rows: file.put(as_own(rows, own))
        else:
            dtype = "float32" if raw is None else raw.dtype
            writer = stack.enter_context(array or ArrayWriter(out.path, row=row, dtype=dtype))
            behind = stack.enter_context(Background(writer))

            def write(indices: Array, rows: Array) -> None:
                if labelled:
                    writer.label(indices, None if callable(names) else [names[index] for index in indices])
                behind.put(rows if raw is None else as_raw(rows, raw))

            yield write


def raw_of_source(source: Source | None) -> Raw | None:
    """The type of values that have no range of their own: bytes, or floats in 0..1."""
    if source is None or source.dtype.kind == "b":
        return None
    return Raw(dtype=source.dtype.name, range=(0, 255) if source.dtype == np.uint8 else (0, 1))


def as_own(rows: Array, raw: Raw | None) -> Array:
    """What graphs give as values of this type; bytes are bytes already."""
    return rows if raw is None or rows.dtype == np.uint8 else as_raw(rows, raw)


def check_form(source: Source, out: Out) -> None:
    """Raise BadInput where OUT is a folder, and samples of this kind have no files."""
    if out.kind == "folder" and source.kind != "image" and source.writing is None:
        raise BadInput(
            f"{source.kind}s are no image files", "give a file that ends with .npy or .npz, or .png for a figure"
        )


def names_of(source: Source) -> Any:
    """What the files of a folder OUT are called: as the input's, or numbered."""
    return source.paths if source.paths is not None else lambda index: f"{index:06d}.png"


def stream(
    given: Input,
    out: Out,
    what: str,
    compute: Compute,
    row: Sides,
    *,
    options: dict[str, Any] | None = None,
    array: ArrayWriter | None = None,
    raw: Raw | None = None,
    note: Callable[[], str] = str,
) -> None:
    """All batches through `compute`, which gives rows of this shape, to a folder or an array, which holds raw values with `raw`.

    `options` are those of the task on which the rows depend. `note` gives the end of the last line, when all is written.
    """
    check_form(given.source, out)
    start, count = time.monotonic(), 0
    job = given.job(out, what, options or {}, one_by_one=given.own_sizes)
    more: dict[str, Any] = {"job": job, "array": array, "labelled": True, "raw": raw, "source": given.source}
    with image_writer(out, names_of(given.source), row, **more) as write:
        for batch in given.read(what, job):
            write(batch.indices, compute(batch))
            count += len(batch.indices)
    done(out, job.there + count, speed=count / (time.monotonic() - start), note=note())


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
    return joined([images for images, _ in pairs]), joined([result for _, result in pairs])


def joined(parts: list[Array], way_out: str = "give a folder as OUT, or --limit 1") -> Array:
    """Batches as one; raises BadInput where their images differ in size."""
    shapes = list(dict.fromkeys(part.shape[1:] for part in parts))
    if len(shapes) > 1:
        message = f"images of shapes {list(shapes[0])} and {list(shapes[1])} do not make one figure"
        raise BadInput(message, way_out)
    return np.concatenate(parts)


def first_of(shown: int, total: int) -> str:
    """The remark that a sheet does not show all images; "" if it does."""
    return f", the first of {total}: --limit N shows more, a folder or .npy holds all" if shown < total else ""


def done(out: Out, count: int, unit: str = "images", *, speed: float | None = None, note: str = "") -> None:
    """The last line: what was written where."""
    rate = f", {speed:,.0f} images/s" if speed else ""
    if out.path != "-":
        say(f"{out.path}: {count} {unit if count != 1 else unit.removesuffix('s')}{rate}{note}")
