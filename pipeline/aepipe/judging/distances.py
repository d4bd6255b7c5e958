"""Seven measures of how far apart two sets of points are, in float64 with NumPy alone. A point is the features of a
sample of any kind, or the sample itself.

None of them sees everything. The Fréchet distance sees only means and covariances; the kernel distance sees moments up to
the third, but no single points. Precision does not see what is missing, and recall does not see what is bad. Density and
coverage are their like, and trust single points less. Copies of the real points look perfect to all but the two-sample test.
Points are [N, F] and [M, F], or arrays with further axes, which are flattened; the comparison is fairest if N = M.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from aepipe._types import Array
from aepipe.errors import BadInput

CHUNK = 1 << 22  # so many distances are in memory at once; they take 32 MiB


def frechet(a: Array, b: Array) -> float:
    """The Fréchet distance of two normal distributions with the means and covariances of the points (Dowson and Landau, 1982).

    It is |m_a - m_b|² + tr(C_a + C_b - 2 (C_a C_b)^½), which is 0 for equal distributions. Heusel et al. (2017) compute it in
    the features of the Inception network; here the features are those of the judge, so that distances by different judges
    cannot be compared. With few points the distance is biased upwards.
    """
    a, b = _pair(a, b)
    first, second = (np.atleast_2d(np.cov(points, rowvar=False)) for points in (a, b))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    # (C_a C_b)^½ and (C_a^½ C_b C_a^½)^½ have the same trace, and the latter is symmetric.
    product = np.linalg.eigvalsh(root @ second @ root).clip(0)
    distance = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first) + np.trace(second) - 2 * np.sqrt(product).sum()
    return max(float(distance), 0.0)


def kernel_distance(a: Array, b: Array, *, block: int = 1000, seed: int = 0) -> float:
    """The squared maximum mean discrepancy under the kernel (x·y / F + 1)³, unbiased (Binkowski et al., 2018).

    It is the mean over blocks with about `block` points of each set, drawn without repetition. For equal distributions its
    expected value is 0, so that a single result may be below 0.
    """
    a, b = _pair(a, b)
    rng = np.random.default_rng(seed)
    count = max(1, min(len(a), len(b)) // block)
    parts = [np.array_split(rng.permutation(len(points)), count) for points in (a, b)]
    return float(np.mean([_discrepancy(a[rows], b[others]) for rows, others in zip(*parts, strict=True)]))


def _discrepancy(a: Array, b: Array) -> float:
    def kernel(x: Array, y: Array) -> Array:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(points: Array) -> float:
        values = kernel(points, points)
        return float((values.sum() - np.trace(values)) / (len(points) * (len(points) - 1)))

    return within(a) + within(b) - 2 * float(kernel(a, b).mean())


def neighbours(real: Array, made: Array, *, k: int = 3, wide: int = 5, chunk: int = CHUNK) -> dict[str, float]:
    """`precision`, `recall`, `density`, `coverage` and `two_sample`, from the distances of nearest neighbours.

    precision: share of the made points that lie in the ball around some real point whose radius is the distance from that
    real point to its k-th nearest real neighbour; recall: the same with the sets exchanged (Kynkäänniemi et al., 2019).
    Single points far from all others have large balls, and both reward them. So density and coverage (Naeem et al., 2020)
    ask only for balls around real points, to the `wide`-th neighbour: density is how many of them hold a made point, on
    average, divided by `wide`; coverage is the share of them that hold one or more. Where both sets have one distribution,
    density is about 1 and coverage about 1 - 0.5 ** wide.
    two_sample: how often the nearest neighbour of a point, among all other points of both sets, belongs to the point's own set
    (the one-nearest-neighbour test of Lopez-Paz and Oquab, 2017; ties count half). It is 0.5 if the sets cannot be told apart,
    1 if they lie apart, and below 0.5 if one set holds copies of the other's points.
    At most `chunk` distances are in memory at once. Raises BadInput for sets of `wide` points or fewer.
    """
    real, made = _pair(real, made, least=max(k, wide) + 1)
    centre = real.mean(0)  # the distances lose least to rounding if the points lie around 0
    real, made = real - centre, made - centre
    nearest_real, radius_real, wide_real = _within(real, (k, wide), chunk)
    nearest_made, radius_made = _within(made, (k,), chunk)
    to_made = np.empty(len(real))
    to_real = np.full(len(made), np.inf)
    covered_real, covered_made = np.zeros(len(real), bool), np.zeros(len(made), bool)
    inside = 0
    for rows, distances in _distances(real, made, chunk):
        to_made[rows] = distances.min(1)
        np.minimum(to_real, distances.min(0), out=to_real)
        covered_real[rows] = (distances <= radius_made).any(1)
        covered_made |= (distances <= radius_real[rows, None]).any(0)
        inside += int(np.count_nonzero(distances <= wide_real[rows, None]))
    figures = {
        "precision": covered_made.mean(),
        "recall": covered_real.mean(),
        "density": inside / (wide * len(made)),
        "coverage": (to_made <= wide_real).mean(),
        "two_sample": np.mean([_nearer(nearest_real, to_made), _nearer(nearest_made, to_real)]),
    }
    return {name: float(value) for name, value in figures.items()}


def _nearer(own: Array, other: Array) -> float:
    """How often the distance in `own` is smaller than the one in `other`; ties count half."""
    return float(((own < other) + 0.5 * (own == other)).mean())


def _within(points: Array, ranks: Sequence[int], chunk: int) -> list[Array]:
    """The squared distances from each point to its nearest other point, and to those of the given ranks."""
    found = [np.empty(len(points)) for _ in range(1 + len(ranks))]
    for rows, distances in _distances(points, points, chunk):
        distances[np.arange(len(distances)), np.arange(rows.start, rows.stop)] = np.inf
        distances.partition([rank - 1 for rank in (1, *ranks)], axis=1)
        for values, rank in zip(found, (1, *ranks), strict=True):
            values[rows] = distances[:, rank - 1]
    return found


def _distances(a: Array, b: Array, chunk: int) -> Iterator[tuple[slice, Array]]:
    """Yield the squared distances from some points of `a`, given as a slice, to all of `b`, until all of `a` had its turn."""
    size = max(1, chunk // len(b))
    lengths_a, lengths_b = np.square(a).sum(1), np.square(b).sum(1)
    for start in range(0, len(a), size):
        rows = slice(start, min(start + size, len(a)))
        distances = a[rows] @ b.T
        distances *= -2
        distances += lengths_a[rows, None]
        distances += lengths_b
        yield rows, np.maximum(distances, 0, out=distances)


def auroc(scores: Array, labels: Array) -> float:
    """The area under the ROC curve [0..1]: how often a positive has a higher score than a negative; ties count half.

    `scores` [N], `labels` [N] true for positives, such as anomalies. Raises BadInput unless there are both.
    """
    scores, positive = np.asarray(scores, np.float64), np.asarray(labels).astype(bool)
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if scores.shape != positive.shape or scores.ndim != 1 or not positives or not negatives:
        message = f"scores {list(scores.shape)} with {positives} positives and {negatives} negatives have no ROC curve"
        raise BadInput(message, "give one score and one label each, and both kinds")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # ranks begin at 1; equal scores get their mean rank
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _pair(a: Array, b: Array, least: int = 2) -> tuple[Array, Array]:
    """Both sets as points in float64; raises BadInput where they cannot be compared."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim < 2 or a.shape[1:] != b.shape[1:] or 0 in a.shape or min(len(a), len(b)) < least:
        message = f"sets of shape {list(a.shape)} and {list(b.shape)} cannot be compared"
        raise BadInput(message, f"[N, F] and [M, F] are needed, with {least} points or more each")
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise BadInput("the features hold NaN or infinity", "use another judge")
    return a, b
