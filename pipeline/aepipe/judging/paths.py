"""Judges the paths between two codes: whether they keep the class of their ends, and how far round they go.

The mid-points of a path are judged as a set, among the others (samples.py): do they look like images at all? A path that
visits typical images does well by that, even if they have nothing to do with its ends. So these figures look at each path.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aepipe._types import Array
from aepipe.images.batches import in_parts
from aepipe.progress import progress
from aepipe.runtime.interpolation import paths_of
from aepipe.runtime.model import Model, between

from .judge import Judge

STEPS = 8  # of a path; an even number, so that it has a middle
CODES = 1000  # the most codes that are joined by paths

Way = tuple[str, str | None]  # a path, and the density whose noise it runs through


def judge_paths(
    model: Model, judge: Judge, codes: Array, densities: Sequence[str] = (), *, seed: int = 0
) -> dict[Way, dict[str, float]]:
    """Follow the paths between codes [N, *latent] of images of one class, in 8 steps each.

    There are straight lines ("linear", None), arcs about the mean code ("slerp", None), and arcs in the noise of each density
    that has an inverse ("density", its name). Up to 1000 codes are drawn by `seed`, decoded, and joined with the next one that
    is of the same class to the judge. To a judge without classes all are of one. Each path has these figures:

    - pairs: how many pairs were joined; where there are none, or all decode alike, the other figures are missing;
    - class_kept: the share of pairs whose middle is of the class of the ends (1 is best); missing without classes;
    - length: how long the paths are in the features of the judge, by the chords, which join the features of their ends
      directly (1 is the least). It is a ratio of sums, because the chord between two images that look alike is next to 0;
    - largest_step: the mean of the largest step of each path, by the mean chord. An even and direct path has 1/8, one that
      leaps from end to end has 1.
    """
    drawn = codes[np.random.default_rng(seed).permutation(len(codes))[:CODES]]
    _, classes = _seen(model, judge, drawn)
    pairs = _pairs(np.zeros(len(drawn), int) if classes is None else classes)
    ways: list[Way] = [("linear", None), ("slerp", None)]
    ways += [("density", name) for name in densities if name in paths_of(model.bundle)]
    found = {}
    size = max(1, model.batch_size // (STEPS + 1))
    with progress("following paths", len(pairs) * len(ways)) as advance:
        for way, density in ways:
            parts = []
            for rows in in_parts(pairs, size):
                points = between(model, drawn[rows[:, 0]], drawn[rows[:, 1]], STEPS + 1, way, density)
                features, seen = _seen(model, judge, points.reshape(-1, *drawn.shape[1:]))
                parts.append(_followed(features, seen))
                advance(len(rows))
            found[way, density] = {"pairs": len(pairs), **_figures(parts, classes is not None)}
    return found


def _pairs(classes: Array) -> Array:
    """The indices of both images of each pair, [pairs, 2]: each image and the next one of its class."""
    order = np.argsort(classes, kind="stable")
    same = classes[order[:-1]] == classes[order[1:]]
    return np.stack([order[:-1], order[1:]], 1)[same]


def _seen(model: Model, judge: Judge, codes: Array) -> tuple[Array, Array | None]:
    """Features and classes of the images that codes become."""
    seen = [judge.seen(model.decode_batch(part)) for part in in_parts(codes, model.batch_size)]
    classes = [each for _, each in seen if each is not None]
    return np.concatenate([features for features, _ in seen]), np.concatenate(classes) if classes else None


def _followed(features: Array, classes: Array | None) -> Array:
    """For each path its chord, its length, its largest step and whether its middle keeps the class of the ends: [N, 4].

    `features` [N * 9, F] and `classes` [N * 9] or None are those of the points of N paths, one path after the other.
    """
    points = features.reshape(-1, STEPS + 1, features.shape[-1]).astype(np.float64)
    steps = np.linalg.norm(np.diff(points, axis=1), axis=2)
    chords = np.linalg.norm(points[:, -1] - points[:, 0], axis=1)
    kept = np.zeros(len(points), bool)
    if classes is not None:
        along = classes.reshape(-1, STEPS + 1)
        kept = along[:, STEPS // 2] == along[:, 0]
    return np.stack([chords, steps.sum(1), steps.max(1), kept], 1)


def _figures(parts: list[Array], with_classes: bool) -> dict[str, float]:
    chord, length, largest, kept = np.concatenate(parts).mean(0) if parts else np.zeros(4)
    if not chord:
        return {}
    figures = {"class_kept": kept, "length": length / chord, "largest_step": largest / chord}
    return {name: float(value) for name, value in figures.items() if with_classes or name != "class_kept"}
