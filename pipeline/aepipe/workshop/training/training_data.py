"""The training images. They are kept on the training device if they fit, else they are read batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aepipe._types import Corrupt, Shape
from aepipe.errors import BadInput
from aepipe.images.batches import own_size_batches, prefetch, raw_batches
from aepipe.images.labels import class_count, class_labels
from aepipe.images.source import Source
from aepipe.process import free_memory
from aepipe.progress import progress, say
from aepipe.space import Raw, is_bounded

from . import team as teams
from .augmentation import Augmentations, Samples
from .model import as_tensor
from .team import Team

CHUNK = 512
MOST_VALIDATION = 5000
BUFFER = 2**28  # bytes of float samples that are shuffled with one another where samples lie in chunks


@dataclass
class TrainingData:
    """The images, and which of them train and which validate. A row is an index into `good`."""

    source: Source
    good: np.ndarray  # the indices, in the source, of the images that can be read
    # All good samples, uint8 or float32, if they fit into memory: [N, C, *sides], or one by one where they keep their own sizes.
    resident: Tensor | list[np.ndarray] | None
    train: np.ndarray  # the rows that train
    validation: np.ndarray  # the rows that validate
    mean: float  # of all values of the images that train, on the scale 0..1
    std: float  # their standard deviation
    fingerprint: str
    device: torch.device
    augment: Augmentations
    seed: int
    chunks: np.ndarray | None = None  # the chunk of each row, where samples lie together in chunks

    @property
    def shape(self) -> Shape:
        """C, *sides of what trains."""
        return self.augment.shape(self.source.shape)

    @property
    def bounded(self) -> bool:
        """Whether values lie in 0..1."""
        return is_bounded(self.source.raw)

    def facts(self) -> dict[str, Any]:
        """What a run stores about its data."""
        counts = {"count": len(self.good), "train": len(self.train), "validation": len(self.validation)}
        classes = class_count(class_labels(self.source.labels))
        return {**counts, "classes": classes, "mean": self.mean, "std": self.std, "fingerprint": self.fingerprint}

    @cached_property
    def labels(self) -> Tensor | None:
        """Labels of all rows, int64 [rows] on the training device, -1 where unknown; None where the data have none."""
        found = class_labels(self.source.labels)
        return None if found is None else torch.from_numpy(found[self.good]).to(self.device)

    def labels_of(self, rows: np.ndarray, size: int, team: Team = teams.ALONE) -> Iterator[Tensor | None]:
        """Yield the labels of what `pairs` yields of these rows."""
        for part in shares(len(rows), size, team):
            yield None if self.labels is None else self.labels[torch.from_numpy(rows[part]).to(self.device)]

    def labels_digest(self) -> str | None:
        """By which a run that learned from labels knows that they are still the same."""
        return None if self.labels is None else hashlib.sha256(self.labels.cpu().numpy().tobytes()).hexdigest()

    def stored(self, rows: np.ndarray) -> Samples:
        """Samples of these rows as the source has them, in main memory; one by one where they keep their own sizes."""
        if isinstance(self.resident, list):
            return [self.resident[row] for row in rows]
        if self.resident is not None:
            return self.resident[torch.from_numpy(rows).to(self.resident.device)].cpu().numpy()
        if self.source.own_sizes and self.augment.reshape:
            return self.source.read_each(self.good[rows])
        return self.source.read(self.good[rows])

    def read(self, rows: np.ndarray, stored: Callable[[np.ndarray], Samples] | None = None) -> np.ndarray:
        """Images of these rows as they are measured, float32 in 0..1, in main memory: crops are the same each time."""
        if not len(rows):  # a share of a batch may be empty, and a source need not be able to read nothing
            return np.empty((0, *self.shape), np.float32)
        return self.augment.fixed((stored or self.stored)(rows), rows, self.seed)

    def order(self, seed: list[int]) -> np.ndarray:
        """The rows that train in one epoch, in their order: all mixed, or where they lie in chunks, the rows of some chunks at a
        time, so that a chunk is read once and memory holds some of them."""
        rng, rows = np.random.default_rng(seed), np.repeat(self.train, self.augment.draws)
        if self.chunks is None:
            return rng.permutation(rows)
        own = self.chunks[rows]
        numbers, sizes = np.unique(own, return_counts=True)
        at_once = max(2, BUFFER // (4 * int(np.prod(self.source.shape)) * int(sizes.max())))
        group = np.empty(int(numbers.max()) + 1, np.int64)
        group[rng.permutation(numbers)] = np.arange(len(numbers)) // at_once
        mixed = rng.permutation(len(rows))
        return rows[mixed[np.argsort(group[own[mixed]], kind="stable")]]

    def _reader(self, rows: np.ndarray) -> Callable[[np.ndarray], Samples]:
        """What reads all of these rows, in their order and in parts."""
        if self.chunks is None or self.resident is not None:
            return self.stored
        return ChunkReader(lambda some: self.source.read(self.good[some]), rows, self.chunks)

    def batches(self, rows: np.ndarray, size: int, team: Team = teams.ALONE) -> Iterator[Tensor]:
        """Yield this process's share of each batch of these rows, in order: float32 in 0..1 on the training device."""
        if not isinstance(self.resident, Tensor) or self.augment.reshape:
            parts = [rows[part] for part in shares(len(rows), size, team)]
            stored = self._reader(np.concatenate([rows[:0], *parts]))
            for images in prefetch((self.read(part, stored) for part in parts), depth=1):
                yield as_tensor(images).to(self.device)
            return
        on_device = torch.from_numpy(rows).to(self.resident.device)
        for part in shares(len(rows), size, team):
            images = self.resident[on_device[part]].to(self.device)
            yield images.float().div_(255) if images.dtype == torch.uint8 else images

    def pairs(
        self,
        rows: np.ndarray,
        size: int,
        corrupt: Corrupt | None,
        seed: list[int],
        team: Team = teams.ALONE,
        *,
        augmented: bool = False,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this process's share of each batch as (input, target): the same images twice, or spoiled and clean ones.

        A thread varies (if `augmented`) and spoils whole batches on the CPU, one batch ahead. Its generators are seeded by `seed`
        and the step, so that a resumed run sees the same noise. Every process of a team treats the whole batch alike and then
        takes its share.
        """
        augmented = augmented and bool(self.augment)
        if corrupt is None and not augmented:
            yield from ((images, images) for images in self.batches(rows, size, team))
            return
        stored = self._reader(rows)

        def spoiled() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for step, start in enumerate(range(0, len(rows), size)):
                some = rows[start : start + size]
                clean = self.augment.drawn(stored(some), [*seed, step]) if augmented else self.read(some, stored)
                share = team.share(len(clean))
                bad = corrupt(clean, np.random.default_rng([*seed, step])) if corrupt else clean
                yield bad[share], clean[share]

        for bad, clean in prefetch(spoiled(), depth=1):
            yield as_tensor(bad).to(self.device), as_tensor(clean).to(self.device)

    def fixed(self, source: Source | None = None) -> Source:
        """A source, by default the one that trains, with its samples in the shape in which they train."""
        source = source or self.source
        return reshaped(source, self.augment, self.seed) if self.augment.reshape else source

    def standardised(self, rows: np.ndarray, size: int = 500) -> StandardisedImages:
        return StandardisedImages(self, rows, size)


@dataclass
class StandardisedImages:
    """Standardised images of fixed rows, for fitting closed forms: every iteration yields the same batches."""

    data: TrainingData
    rows: np.ndarray
    size: int

    def __iter__(self) -> Iterator[Tensor]:
        for images in self.data.batches(self.rows, self.size):
            yield (images - self.data.mean) / self.data.std


class ChunkReader:
    """Reads rows that lie in chunks, in the order in which they are due: of each chunk all due rows at once, which are kept until
    the last of them is taken."""

    def __init__(self, read: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, chunks: np.ndarray):
        self.read, self.chunks = read, chunks
        order = np.argsort(chunks[rows], kind="stable")
        numbers, starts = np.unique(chunks[rows][order], return_index=True)
        due = np.split(rows[order], starts[1:])
        self.due = dict(zip(numbers.tolist(), due, strict=True)) if len(rows) else {}
        self.kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # rows in their order, and their samples
        self.left = {number: len(each) for number, each in self.due.items()}

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """The samples of these rows."""
        own, parts = self.chunks[rows], []
        for number in np.unique(own).tolist():
            if number not in self.kept:
                known = np.unique(self.due.pop(number))
                self.kept[number] = known, self.read(known)
            known, samples = self.kept[number]
            places = np.flatnonzero(own == number)
            parts.append((places, samples[np.searchsorted(known, rows[places])]))
            self.left[number] -= len(places)
            if not self.left[number]:
                del self.kept[number]
        places, samples = (np.concatenate(each) for each in zip(*parts, strict=True))
        return samples[np.argsort(places)]


class _Reshaped:
    """The samples of a source in the shape in which they train."""

    def __init__(self, source: Source, augment: Augmentations, seed: int):
        self.source, self.augment, self.seed = source, augment, seed
        self.shape, self.dtype = augment.shape(source.shape), np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: np.ndarray) -> np.ndarray:
        given = self.source.read_each(indices) if self.source.own_sizes else self.source.read(indices)
        return self.augment.fixed(given, indices, self.seed)


def reshaped(source: Source, augment: Augmentations, seed: int) -> Source:
    """A source whose samples get the shape in which they train, each the same way each time; float32, as the graphs take it."""
    raw = None if is_bounded(source.raw) else Raw(dtype="float32")
    return replace(source, images=_Reshaped(source, augment, seed), raw=raw)


def _read_all(
    source: Source, augment: Augmentations, skip_bad: bool, on_bad: Callable[[int, BadInput], None]
) -> Iterator[tuple[np.ndarray, Samples]]:
    """All samples with their indices, several at a time, as `TrainingData.stored` gives them. A sample that the augmentations
    cannot take is a bad one."""
    if source.own_sizes and augment.reshape:

        def check(image: np.ndarray) -> None:
            if (made := augment.shape(image.shape)) != augment.shape(source.shape):
                hint = "put the one that gives one shape, such as crop, in its place"
                raise BadInput(f"augmentations make {list(made)} of a sample {list(image.shape)}", hint)

        yield from own_size_batches(source, check=check, skip_bad=skip_bad, on_bad=on_bad)
        return
    own = source.chunks()
    size = 1 if own is None else int(np.bincount(own).max())
    yield from raw_batches(source, max(1, CHUNK // size) * size, skip_bad=skip_bad, on_bad=on_bad)


def collect(
    source: Source,
    *,
    device: torch.device,
    on_cpu: bool,
    seed: int,
    skip_bad: bool,
    show: bool,
    augment: Sequence[Any] = (),
) -> TrainingData:
    """Read every image once, to compute mean and standard deviation, and keep all images if they fit into the memory.

    With `on_cpu` they are kept in main memory, where corruptions need them, and not on the device. `augment` are augmentations by
    spec or record. Raises BadInput for images that cannot be read (unless `skip_bad`), for fewer than two images, and if all
    pixels have the same value.
    """
    varied = Augmentations(augment, bounded=is_bounded(source.raw))
    kept, moments = _Kept(source, torch.device("cpu") if on_cpu else device), _Moments()
    good: list[np.ndarray] = []
    digest = hashlib.sha256(repr(source.shape).encode())
    bad: list[str] = []

    def note_bad(index: int, error: Exception) -> None:
        bad.append(str(getattr(error, "message", error)))

    with progress("reading images", len(source), show=show) as advance:
        for numbers, samples in _read_all(source, varied, skip_bad, note_bad):
            kept.add(samples)
            for part in samples if isinstance(samples, list) else [samples]:
                moments.add(part[None] if isinstance(samples, list) else part)
                digest.update(part.tobytes())
            good.append(numbers)
            advance(len(numbers))
    if bad:
        say(f"skipped {len(bad)} bad images, the first: {bad[0]}")
    indices = np.concatenate(good) if good else np.empty(0, int)
    if len(indices) < 2:
        raise BadInput(
            f"{source.name} has {len(indices)} usable images", "training needs at least 2, one of them to validate"
        )
    digest.update(str(len(indices)).encode())
    chunks = source.chunks()
    chunks = None if chunks is None else chunks[indices]
    train, validation = _split(len(indices), seed, chunks)
    mean, std = moments.of(train)
    if std < 1e-6 * max(1.0, abs(mean)) if source.raw is not None else std < 1e-6:
        raise BadInput(f"all images of {source.name} are one constant grey", "training needs images that differ")
    facts = mean, std, digest.hexdigest(), device
    return TrainingData(source, indices, kept.samples, train, validation, *facts, varied, seed, chunks)


class _Kept:
    """All samples, if they fit into memory: [N, C, *sides] on a device, or one by one where they keep their own sizes."""

    def __init__(self, source: Source, home: torch.device):
        self.source, self.home = source, home
        self.count = 0
        self._all: Tensor | list[np.ndarray] | None = None
        self._room = free_memory() // teams.processes_here() // 2  # bytes that samples of own sizes may take

    def add(self, samples: Samples) -> None:
        """The next samples."""
        if not self.count:
            self._begin(samples)
        if isinstance(samples, list):
            self._room -= sum(sample.nbytes for sample in samples)
            if self._room < 0:
                self._all = None
            elif isinstance(self._all, list):
                self._all += samples
        elif isinstance(self._all, Tensor):
            self._all[self.count : self.count + len(samples)] = as_tensor(samples).to(self.home)
        self.count += len(samples)

    def _begin(self, samples: Samples) -> None:
        if isinstance(samples, list):
            self._all = []
        elif _fits(self.source, samples.dtype, self.home):
            dtype = torch.uint8 if samples.dtype == np.uint8 else torch.float32
            self._all = torch.empty((len(self.source), *self.source.shape), dtype=dtype, device=self.home)

    @property
    def samples(self) -> Tensor | list[np.ndarray] | None:
        return self._all[: self.count] if isinstance(self._all, Tensor) else self._all


class _Moments:
    """Mean and standard deviation of all values of samples, on the scale of the graphs."""

    def __init__(self) -> None:
        self.sums: list[np.ndarray] = []
        self.squares: list[np.ndarray] = []
        self.counts: list[np.ndarray] = []

    def add(self, samples: np.ndarray) -> None:
        """The next samples [n, C, *sides], uint8 or float32."""
        values = as_tensor(samples).flatten(1).double()
        values = values / 255 if samples.dtype == np.uint8 else values
        self.sums.append(values.sum(1).numpy())
        self.squares.append(values.square().sum(1).numpy())
        self.counts.append(np.full(len(samples), values.shape[1]))

    def of(self, rows: np.ndarray) -> tuple[float, float]:
        """Mean and standard deviation of the samples at these places, of which every value weighs alike."""
        sums, squares, counts = (np.concatenate(each)[rows].sum() for each in (self.sums, self.squares, self.counts))
        mean = sums / counts
        return float(mean), float(max(squares / counts - mean**2, 0.0) ** 0.5)


def shares(count: int, size: int, team: Team) -> Iterator[slice]:
    """Yield this process's part of each batch, for `count` rows in batches of `size`; it is empty if a batch is too small."""
    for start in range(0, count, size):
        share = team.share(min(size, count - start))
        yield slice(start + share.start, start + share.stop)


def _split(count: int, seed: int, chunks: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The rows that train and the rows that validate; these are a tenth, but at least one and at most MOST_VALIDATION.

    Of rows that lie in chunks, those of some chunks validate, so that they are read quickly.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(count)
    held_out = min(max(count // 10, 1), MOST_VALIDATION)
    if chunks is not None:
        place = rng.permutation(int(chunks.max()) + 1)
        order = order[np.argsort(place[chunks[order]], kind="stable")]  # of the last one some, whichever
    return np.sort(order[held_out:]), order[:held_out]


def _fits(source: Source, dtype: np.dtype, device: torch.device) -> bool:
    """Whether all images take at most half of the free memory; processes on one CPU share it."""
    needed = len(source) * int(np.prod(source.shape)) * (1 if dtype == np.uint8 else 4)
    if device.type == "cuda":
        return needed <= torch.cuda.mem_get_info(device)[0] // 2
    return needed <= free_memory() // teams.processes_here() // 2
