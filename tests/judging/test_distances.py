"""The instruments that judge samples, against closed forms and slow implementations."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from aepipe.errors import BadInput
from aepipe.judging.distances import auroc, frechet, kernel_distance, neighbours
from hypothesis import given, settings
from hypothesis import strategies as st


def normal(count: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, size))


def whitened(count: int, size: int, seed: int) -> np.ndarray:
    """Points whose mean is 0 and whose covariance is the identity, not only on average."""
    points = normal(count, size, seed)
    points -= points.mean(0)
    return points @ np.linalg.inv(np.linalg.cholesky(np.cov(points, rowvar=False))).T


def test_frechet_is_the_closed_form() -> None:
    a, b = whitened(500, 6, 0), whitened(400, 6, 1)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    scale = np.arange(1, 7)
    assert frechet(a, b * scale + 2) == pytest.approx(6 * 4 + np.square(scale - 1).sum())
    first, second = normal(6, 6, 2), normal(6, 6, 3)
    product = np.linalg.eigvals((first.T @ first) @ (second.T @ second)).real
    expected = np.square(first).sum() + np.square(second).sum() - 2 * np.sqrt(product.clip(0)).sum()
    assert frechet(a @ first, b @ second) == pytest.approx(expected, rel=1e-6)
    assert frechet(normal(5, 64), normal(5, 64)) == pytest.approx(0, abs=1e-6), "fewer points than features"


def test_kernel_distance_is_unbiased_and_the_papers() -> None:
    found = [kernel_distance(normal(100, 4, seed), normal(100, 4, seed + 1000), block=50) for seed in range(60)]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error and min(found) < 0 < max(found)
    assert kernel_distance(normal(100, 4), normal(100, 4, 1) + 1) > 20 * np.std(found)
    a, b = normal(7, 3), normal(5, 3, 1)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (float(x @ y) / 3 + 1) ** 3

    slow = sum(kernel(a[i], a[j]) for i in range(7) for j in range(7) if i != j) / 42
    slow += sum(kernel(b[i], b[j]) for i in range(5) for j in range(5) if i != j) / 20
    slow -= 2 * sum(kernel(x, y) for x in a for y in b) / 35
    assert kernel_distance(a, b) == pytest.approx(slow)


def test_neighbours_of_equal_alike_and_distant_sets() -> None:
    a, alike = normal(600, 5), normal(600, 5, 1)
    same = neighbours(a, a)
    assert (same["precision"], same["recall"]) == (1, 1) and same["two_sample"] < 0.5, "copies"
    found = neighbours(a, alike)
    assert found["two_sample"] == pytest.approx(0.5, abs=0.06) and min(found["precision"], found["recall"]) > 0.8
    assert found["density"] == pytest.approx(1, abs=0.1) and found["coverage"] == pytest.approx(1 - 0.5**5, abs=0.03)
    apart = {"precision": 0, "recall": 0, "density": 0, "coverage": 0, "two_sample": 1}
    assert neighbours(a, alike + 50) == apart
    narrow = neighbours(a, alike * 0.2)
    assert narrow["precision"] > 0.95 and narrow["recall"] < 0.2, "good points that miss most of the set"
    assert narrow["coverage"] < 0.6 < 1 < narrow["density"]


def test_points_far_from_all_others_do_not_make_coverage_good() -> None:
    """What recall rewards: a few made points of large balls, in which many real points lie."""
    real, made = normal(500, 5), np.concatenate([0.3 * normal(480, 5, 1), 6 * normal(20, 5, 2)])
    found = neighbours(real, made)
    assert found["recall"] > 0.5 and found["coverage"] < found["recall"] / 1.5


@pytest.mark.parametrize("k", [1, 3])
def test_neighbours_are_those_of_a_slow_search(k: int) -> None:
    real, made = normal(40, 3), 0.7 * normal(30, 3, 1) + 0.3
    both = np.concatenate([real, made])
    distance = np.linalg.norm(both[:, None] - both[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    radius = [np.sort(distance[i, :40] if i < 40 else distance[i, 40:])[k - 1] for i in range(70)]
    precision = np.mean([any(distance[i, j] <= radius[i] for i in range(40)) for j in range(40, 70)])
    recall = np.mean([any(distance[i, j] <= radius[j] for j in range(40, 70)) for i in range(40)])
    own = [(distance[i].argmin() < 40) == (i < 40) for i in range(70)]
    expected = {"precision": precision, "recall": recall, "two_sample": (np.mean(own[:40]) + np.mean(own[40:])) / 2}
    wide = [np.sort(distance[i, :40])[4] for i in range(40)]
    inside = np.array([[distance[i, j] <= wide[i] for j in range(40, 70)] for i in range(40)])
    expected |= {"density": inside.sum() / (5 * 30), "coverage": inside.any(1).mean()}
    assert neighbours(real, made, k=k) == pytest.approx(expected)


def test_chunks_change_the_memory_and_nothing_else() -> None:
    a, b = normal(1500, 8), normal(1400, 8, 1)
    tracemalloc.start()
    chunked = neighbours(a, b, chunk=1 << 15)
    small = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    whole = neighbours(a, b)
    large = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert chunked == pytest.approx(whole, abs=1e-12)
    assert small < 2e6 < 8 * 1500 * 1400 < large


def test_auroc() -> None:
    labels = np.array([0, 0, 1, 1, 0, 1])
    assert auroc(np.array([1, 2, 5, 6, 3, 7]), labels) == 1
    assert auroc(-np.array([1, 2, 5, 6, 3, 7]), labels) == 0
    assert auroc(np.zeros(6), labels) == 0.5
    scores = np.random.default_rng(0).integers(0, 5, 50)
    positive = np.random.default_rng(1).random(50) < 0.4
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[positive] for n in scores[~positive]]
    assert auroc(scores, positive) == pytest.approx(np.mean(pairs))
    with pytest.raises(BadInput, match="no ROC curve"):
        auroc(scores, np.ones(50))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(0, 99))
def test_samples_of_any_rank_are_points(sides: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(9, *sides)), rng.normal(size=(8, *sides))
    for measure in (frechet, kernel_distance, neighbours):
        assert measure(a, b) == measure(a.reshape(9, -1), b.reshape(8, -1))


def test_sets_that_cannot_be_compared() -> None:
    for a, b in [(normal(9, 3), normal(9, 4)), (normal(9, 3), normal(3, 3)), (normal(9, 3), np.full((9, 3), np.nan))]:
        with pytest.raises(BadInput):
            neighbours(a, b)
    with pytest.raises(BadInput, match="cannot be compared"):
        frechet(normal(1, 3), normal(9, 3))
    for a, b in [((9, 2, 3), (9, 6)), ((9, 2, 3), (9, 3, 2)), ((9,), (9,)), ((9, 0), (9, 0))]:
        with pytest.raises(BadInput, match="cannot be compared"):
            neighbours(np.zeros(a), np.zeros(b))
