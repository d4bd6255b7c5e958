"""The learning rate over a training."""

from __future__ import annotations

import pytest
from aepipe.workshop.training.recipe import learning_rate


def test_the_schedule():
    rates = [learning_rate(0.1, "cosine", step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.01) and max(rates) == pytest.approx(0.1) and rates.index(max(rates)) in (9, 10)
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True) and rates[-1] < 1e-4
    assert learning_rate(0.1, "constant", 99, 100) == 0.1
