"""The learning rate over a training, and what a recipe refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from aepipe.errors import BadInput
from aepipe.workshop.training.recipe import Recipe, learning_rate


def rates(steps: int = 100, **recipe) -> list[float]:
    return [learning_rate(Recipe(lr=0.1, **recipe), step, steps) for step in range(steps)]


def test_the_schedule():
    cosine = rates(schedule="cosine")
    assert (
        cosine[0] == pytest.approx(0.01) and max(cosine) == pytest.approx(0.1) and cosine.index(max(cosine)) in (9, 10)
    )
    assert cosine[:10] == sorted(cosine[:10]) and cosine[10:] == sorted(cosine[10:], reverse=True) and cosine[-1] < 1e-4
    assert rates() == [0.1] * 100


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("warmup", [20, 0.2])
def test_a_warm_up_is_steps_or_a_share(schedule: str, warmup: float):
    found = rates(schedule=schedule, warmup=warmup)
    np.testing.assert_allclose(found[:20], np.arange(1, 21) * 0.005)
    assert found[20] == pytest.approx(0.1) and (found[-1] == 0.1) == (schedule == "constant")
    assert rates(schedule=schedule, warmup=0)[0] == 0.1


@pytest.mark.parametrize("warmup", [None, 0.5])
def test_one_cycle_is_that_of_torch(warmup: float | None):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1)
    pct_start = 0.3 if warmup is None else warmup
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=1000, pct_start=pct_start)
    expected = []
    for _ in range(1000):
        expected.append(theirs.get_last_lr()[0])
        optimiser.step()
        theirs.step()
    ours = rates(1000, schedule="onecycle", warmup=warmup)
    np.testing.assert_allclose(ours, expected, atol=0.1 * 0.005)  # torch's rise is one step shorter
    assert ours[0] == expected[0] and ours[-1] == pytest.approx(expected[-1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"warmup": -1},
        {"warmup": 1.5},
        {"warmup": float("inf")},
        {"clip": 0},
        {"clip": float("nan")},
        {"clip": "much"},
        {"ema": 1},
        {"ema": 0},
        {"ema": True},
        {"schedule": "linear"},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(wrong: dict):
    with pytest.raises(BadInput, match=next(iter(wrong))) as caught:
        Recipe(**wrong)
    assert caught.value.hint
