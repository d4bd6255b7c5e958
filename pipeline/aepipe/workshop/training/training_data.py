"""The training images. They are kept on the training device if they fit, else they are read batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aepipe._types import Corrupt, Shape
from aepipe.errors import BadInput
from aepipe.images.batches import prefetch, raw_batches
from aepipe.images.labels import class_count, class_labels
from aepipe.images.pixels import as_float
from aepipe.images.source import Source
from aepipe.process import free_memory
from aepipe.progress import progress, say
from aepipe.space import is_bounded

from . import team as teams
from .model import as_tensor
from .team import Team

CHUNK = 512
MOST_VALIDATION = 5000


@dataclass
class TrainingData:
    """The images, and which of them train and which validate. A row is an index into `good`."""

    source: Source
    good: np.ndarray  # the indices, in the source, of the images that can be read
    resident: Tensor | None  # all good samples [N, C, *sides], uint8 or float32, if they fit into memory
    train: np.ndarray  # the rows that train
    validation: np.ndarray  # the rows that validate
    mean: float  # of all values of the images that train, on the scale 0..1
    std: float  # their standard deviation
    fingerprint: str
    device: torch.device

    @property
    def shape(self) -> Shape:
        return self.source.shape

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

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Images of these rows, float32 in 0..1, in main memory."""
        if self.resident is not None:
            return as_float(self.resident[torch.from_numpy(rows).to(self.resident.device)].cpu().numpy())
        if not len(rows):  # a share of a batch may be empty, and a source need not be able to read nothing
            return np.empty((0, *self.shape), np.float32)
        return as_float(self.source.read(self.good[rows]))

    def batches(self, rows: np.ndarray, size: int, team: Team = teams.ALONE) -> Iterator[Tensor]:
        """Yield this process's share of each batch of these rows, in order: float32 in 0..1 on the training device."""
        if self.resident is None:
            parts = (rows[part] for part in shares(len(rows), size, team))
            for images in prefetch(map(self.read, parts), depth=1):
                yield as_tensor(images).to(self.device)
            return
        on_device = torch.from_numpy(rows).to(self.resident.device)
        for part in shares(len(rows), size, team):
            images = self.resident[on_device[part]]
            yield images.float().div_(255) if images.dtype == torch.uint8 else images

    def pairs(
        self, rows: np.ndarray, size: int, corrupt: Corrupt | None, seed: list[int], team: Team = teams.ALONE
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this process's share of each batch as (input, target): the same images twice, or spoiled and clean ones.

        A thread spoils whole batches on the CPU, one batch ahead. Its generator is seeded by `seed` and the step, so that a
        resumed run sees the same noise. Every process of a team spoils the whole batch alike and then takes its share.
        """
        if corrupt is None:
            yield from ((images, images) for images in self.batches(rows, size, team))
            return

        def spoiled() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for step, start in enumerate(range(0, len(rows), size)):
                clean = self.read(rows[start : start + size])
                share = team.share(len(clean))
                yield corrupt(clean, np.random.default_rng([*seed, step]))[share], clean[share]

        for bad, clean in prefetch(spoiled(), depth=1):
            yield as_tensor(bad).to(self.device), as_tensor(clean).to(self.device)

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


def collect(
    source: Source, *, device: torch.device, on_cpu: bool, seed: int, skip_bad: bool, show: bool
) -> TrainingData:
    """Read every image once, to compute mean and standard deviation, and keep all images if they fit into the memory.

    With `on_cpu` they are kept in main memory, where corruptions need them, and not on the device. Raises BadInput for images
    that cannot be read (unless `skip_bad`), for fewer than two images, and if all pixels have the same value.
    """
    home = torch.device("cpu") if on_cpu else device
    kept: Tensor | None = None
    good: list[np.ndarray] = []
    sums: list[np.ndarray] = []
    squares: list[np.ndarray] = []
    digest = hashlib.sha256(repr(source.shape).encode())
    bad: list[str] = []

    def note_bad(index: int, error: Exception) -> None:
        bad.append(str(getattr(error, "message", error)))

    with progress("reading images", len(source), show=show) as advance:
        for batch in raw_batches(source, CHUNK, skip_bad=skip_bad, on_bad=note_bad):
            if kept is None and not good and _fits(source, batch.images.dtype, home):
                dtype = torch.uint8 if batch.images.dtype == np.uint8 else torch.float32
                kept = torch.empty((len(source), *source.shape), dtype=dtype, device=home)
            raw = as_tensor(batch.images)
            if kept is not None:
                start = sum(len(indices) for indices in good)
                kept[start : start + len(raw)] = raw.to(home)
            values = raw.flatten(1).double()
            values = values / 255 if raw.dtype == torch.uint8 else values
            sums.append(values.sum(1).numpy())
            squares.append(values.square().sum(1).numpy())
            good.append(batch.indices)
            digest.update(batch.images.tobytes())
            advance(len(raw))
    if bad:
        say(f"skipped {len(bad)} bad images, the first: {bad[0]}")
    indices = np.concatenate(good) if good else np.empty(0, int)
    if len(indices) < 2:
        raise BadInput(
            f"{source.name} has {len(indices)} usable images", "training needs at least 2, one of them to validate"
        )
    digest.update(str(len(indices)).encode())
    train, validation = _split(len(indices), seed)
    mean, std = _moments(np.concatenate(sums)[train], np.concatenate(squares)[train], int(np.prod(source.shape)))
    if std < 1e-6 * max(1.0, abs(mean)) if source.raw is not None else std < 1e-6:
        raise BadInput(f"all images of {source.name} are one constant grey", "training needs images that differ")
    resident = None if kept is None else kept[: len(indices)]
    return TrainingData(source, indices, resident, train, validation, mean, std, digest.hexdigest(), device)


def shares(count: int, size: int, team: Team) -> Iterator[slice]:
    """Yield this process's part of each batch, for `count` rows in batches of `size`; it is empty if a batch is too small."""
    for start in range(0, count, size):
        share = team.share(min(size, count - start))
        yield slice(start + share.start, start + share.stop)


def _split(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows that train and the rows that validate; these are a tenth, but at least one and at most MOST_VALIDATION."""
    order = np.random.default_rng(seed).permutation(count)
    held_out = min(max(count // 10, 1), MOST_VALIDATION)
    return np.sort(order[held_out:]), order[:held_out]


def _moments(sums: np.ndarray, squares: np.ndarray, pixels: int) -> tuple[float, float]:
    mean = sums.sum() / (len(sums) * pixels)
    variance = squares.sum() / (len(sums) * pixels) - mean**2
    return float(mean), float(max(variance, 0.0) ** 0.5)


def _fits(source: Source, dtype: np.dtype, device: torch.device) -> bool:
    """Whether all images take at most half of the free memory; processes on one CPU share it."""
    needed = len(source) * int(np.prod(source.shape)) * (1 if dtype == np.uint8 else 4)
    if device.type == "cuda":
        return needed <= torch.cuda.mem_get_info(device)[0] // 2
    return needed <= free_memory() // teams.processes_here() // 2
