"""Judges the samples of a bundle: their distances to test images, beside the distances of other sets for comparison.

Only bundles of images can be judged, because the judge is a network that takes images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aepipe._types import Array
from aepipe.errors import BadInput
from aepipe.images.batches import batches, in_parts
from aepipe.images.source import Source
from aepipe.progress import Advance, progress
from aepipe.runtime.interpolation import paths_of
from aepipe.runtime.model import Model, between

from .distances import frechet, kernel_distance, neighbours
from .judge import Judge
from .paths import judge_paths

LEAST = 10  # the fewest images that a set may have


def judge_samples(
    model: Model,
    judge: Judge,
    test: Source,
    train: Source | None,
    *,
    density: str | None = None,
    count: int = 10_000,
    seed: int = 0,
    **reading: Any,
) -> dict[str, Any]:
    """Judge `count` samples, and as many mid-points, reconstructions and training images.

    Every set is compared with the same test images by `frechet`, `kernel`, `precision`, `recall`, `density`, `coverage` and
    `two_sample` (see distances.py). The sets are:

    - samples: codes drawn from `density`, decoded;
    - midpoints: the middles of straight lines between the codes of two test images, decoded; midpoints_slerp and
      midpoints_density (if the density has an inverse) are the middles of the other paths (see runtime/interpolation.py);
    - reconstructions: the test images encoded and decoded, which shows how much code and decoder lose;
    - train: training images. They are real, so that no set can be expected to do better. None without a training split.

    `paths` has figures of the paths themselves, by the names of runtime/interpolation.py: linear, slerp and density (see paths.py).

    `log_likelihood` of the samples is the mean log-density (natural logarithm) of the test images' codes, and `log_likelihood`
    of "train" that of the training images' codes. If the latter is higher, the density has learned its codes by heart. A density
    without log_prob has neither; of one that is told a class, classes are as frequent as in training.

    All sets have the same size, because the distances depend on it: `count`, or the size of the smallest split if that is
    less. `seed` determines which images are chosen and which samples are drawn; `reading` goes to
    `aepipe.images.batches.batches`. Raises BadInput for fewer than 10 images.
    """
    name = model.bundle.density_name(density)
    return judge_each_density(model, judge, test, train, [name], count=count, seed=seed, **reading)[name]


def judge_each_density(
    model: Model,
    judge: Judge,
    test: Source,
    train: Source | None,
    densities: Sequence[str],
    *,
    count: int = 10_000,
    seed: int = 0,
    **reading: Any,
) -> dict[str, dict[str, Any]]:
    """What `judge_samples` returns, for each of several densities by name; what no density changes is computed only once."""
    sizes = [count, len(test)] + ([] if train is None else [len(train)])
    count, rng = min(sizes), np.random.default_rng(seed)
    if count < LEAST:
        raise BadInput(f"{count} images are too few to judge samples by", f"{LEAST} are the least, 10,000 are usual")
    inverses = [name for name in densities if name in paths_of(model.bundle)]
    decoded = 3 + len(densities) + len(inverses)
    with progress("judging", count * (1 + decoded + (train is not None))) as advance:
        real, codes = _read(model, judge, _drawn(test, count, rng), reading, advance)
        # The codes form a ring in random order, and neighbours are joined: so every code is an end of two lines.
        ring = rng.permutation(len(codes))
        ends = codes[ring], codes[np.roll(ring, 1)]

        def made(codes: Array) -> Array:
            return _decoded(model, judge, codes, advance)

        def middles(way: str, density: str | None = None) -> Array:
            return made(between(model, *ends, 3, way, density)[:, 1])

        common: dict[str, Array | None] = {
            "midpoints": middles("linear"),
            "midpoints_slerp": middles("slerp"),
            "reconstructions": made(codes),
            "train": None,
        }
        own: dict[str, dict[str, Array]] = {}
        for name in densities:
            own[name] = {"samples": made(np.concatenate(list(model.sample_codes(count, name, seed))))}
            if name in inverses:
                own[name]["midpoints_density"] = middles("density", name)
        learned = None
        if train is not None:
            common["train"], learned = _read(model, judge, _drawn(train, count, rng), reading, advance)
    followed = judge_paths(model, judge, codes, inverses, seed=seed)
    with progress("comparing", len(common) + sum(map(len, own.values()))) as advance:

        def compared(sets: Mapping[str, Array | None]) -> dict[str, Any]:
            found = {}
            for key, points in sets.items():
                found[key] = None if points is None else _compared(real, points)
                advance(1)
            return found

        shared, figures = compared(common), {name: compared(sets) for name, sets in own.items()}
    for name, rows in figures.items():
        scores = model.bundle.has("log_prob", name)
        if scores:
            rows["samples"]["log_likelihood"] = _log_likelihood(model, codes, name)
        if learned is not None and scores:
            rows["train"] = {**shared["train"], "log_likelihood": _log_likelihood(model, learned, name)}
    facts = {"judge": judge.as_json(), "judged": len(real)}
    paths = {
        name: {way: each for (way, density), each in followed.items() if density in (None, name)} for name in densities
    }
    return {name: {"density": name, **facts, **shared, **rows, "paths": paths[name]} for name, rows in figures.items()}


def _drawn(source: Source, count: int, rng: np.random.Generator) -> Source:
    """`count` images, chosen at random, because the first ones may all be of one class."""
    return source.pick(np.sort(rng.permutation(len(source))[:count]))


def _read(model: Model, judge: Judge, source: Source, reading: dict[str, Any], advance: Advance) -> tuple[Array, Array]:
    """Features and codes of images."""
    features, codes = [], []
    for _, images in batches(source, model.batch_size, **reading):
        features.append(judge(images))
        codes.append(model.encode_batch(images))
        advance(len(images))
    return np.concatenate(features), np.concatenate(codes)


def _decoded(model: Model, judge: Judge, codes: Array, advance: Advance) -> Array:
    """Features of the images that codes become."""
    features = []
    for part in in_parts(codes, model.batch_size):
        features.append(judge(model.decode_batch(part)))
        advance(len(features[-1]))
    return np.concatenate(features)


def _log_likelihood(model: Model, codes: Array, density: str) -> float:
    """The mean log-density of codes, in nats."""
    values = [model.log_prob_batch(part, density) for part in in_parts(codes, model.batch_size)]
    return float(np.concatenate(values).astype(np.float64).mean())


def _compared(real: Array, made: Array) -> dict[str, float]:
    return {"frechet": frechet(real, made), "kernel": kernel_distance(real, made), **neighbours(real, made)}
