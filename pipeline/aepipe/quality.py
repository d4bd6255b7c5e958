"""How good the samples of a bundle are, by a judge: distances to test images, beside those of sets that we know more about."""

from __future__ import annotations

from typing import Any

import numpy as np

from .batches import batches
from .data import Source
from .distances import frechet, kernel_distance, neighbours
from .errors import BadInput
from .infer import Model
from .judge import Judge
from .paths import between
from .progress import Advance, progress

LEAST = 10  # images in a set

Array = np.ndarray


def judged(
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
    """What the judge says of `count` samples, and of as many mid-points, reconstructions and training images.

    Every set is compared with the same test images, by `frechet`, `kernel`, `precision`, `recall` and `two_sample` (see
    distances.py): samples of `density`; midpoints, the decoded middles of straight lines between the codes of two test
    images, and those of the other paths of paths.py; reconstructions of the test images themselves, which show what
    decoder and code cost; train, real images and so the floor, None where the data has no training split. `log_likelihood`
    is the mean log-density (natural logarithm) of the test images' codes, and at "train" that of the training images'
    codes: higher there means that the density learned its codes by heart.

    All sets have one size, for the distances depend on it: `count`, or the smaller of the data's splits. Images are chosen
    and samples drawn by `seed`; `reading` goes to `aepipe.data.batches`. Raises BadInput for fewer than 10 images.
    """
    name = model.bundle.density_name(density)
    sizes = [count, len(test)] + ([] if train is None else [len(train)])
    count, rng = min(sizes), np.random.default_rng(seed)
    if count < LEAST:
        raise BadInput(f"{count} images are too few to judge samples by", f"{LEAST} are the least, 10,000 are usual")
    ways = midpoint_rows(model, name)
    with progress("judging", count * (3 + len(ways) + (train is not None))) as advance:
        real, codes = _read(model, judge, _drawn(test, count, rng), reading, advance)
        # Each code and another one: a ring in random order, so that each is an end twice.
        ring = rng.permutation(len(codes))
        ends = codes[ring], codes[np.roll(ring, 1)]
        of_codes = {
            "samples": np.concatenate(list(model.sample_codes(count, name, seed))),
            **{
                row: between(model, *ends, 3, way, name if way == "density" else None)[:, 1]
                for row, way in ways.items()
            },
            "reconstructions": codes,
        }
        sets: dict[str, Array | None] = {key: _decoded(model, judge, each, advance) for key, each in of_codes.items()}
        log_likelihood = {"samples": _log_likelihood(model, codes, name)}
        sets["train"] = None
        if train is not None:
            sets["train"], codes = _read(model, judge, _drawn(train, count, rng), reading, advance)
            log_likelihood["train"] = _log_likelihood(model, codes, name)
    figures: dict[str, Any] = {}
    with progress("comparing", len(sets)) as advance:
        for key, made in sets.items():
            figures[key] = None if made is None else _compared(real, made)
            advance(1)
    for key, value in log_likelihood.items():
        figures[key]["log_likelihood"] = value
    return {"density": name, "judge": judge.as_json(), "judged": len(real), **figures}


def _drawn(source: Source, count: int, rng: np.random.Generator) -> Source:
    """Some of the images, chosen from all: the first ones may be of one class."""
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
    for start in range(0, len(codes), model.batch_size):
        features.append(judge(model.decode_batch(codes[start : start + model.batch_size])))
        advance(len(features[-1]))
    return np.concatenate(features)


def midpoint_rows(model: Model, density: str) -> dict[str, str]:
    """Name of a row to the path whose mid-points it holds; through the density's noise only where that has an inverse."""
    inverse = {"midpoints_density": "density"} if model.bundle.has("noise", density) else {}
    return {"midpoints": "linear", "midpoints_slerp": "slerp", **inverse}


def _log_likelihood(model: Model, codes: Array, density: str) -> float:
    """The mean log-density of codes, in nats."""
    parts = range(0, len(codes), model.batch_size)
    values = [model.run("log_prob", codes[start : start + model.batch_size], density) for start in parts]
    return float(np.concatenate(values).astype(np.float64).mean())


def _compared(real: Array, made: Array) -> dict[str, float]:
    return {"frechet": frechet(real, made), "kernel": kernel_distance(real, made), **neighbours(real, made)}
