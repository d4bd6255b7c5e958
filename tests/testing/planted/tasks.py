"""Faults of tasks."""

from __future__ import annotations

import numpy as np

from tests.testing.planted import fault


def _sum(model, reading):
    return sum(float(model.encode(images).sum()) for _, images in reading.batches())


@fault("task", "writes_its_file", "third argument", "is_the_same_each_time", "works_without_torch")
def prints():
    "Computes, and writes nothing."

    def run(model, reading, out):
        _sum(model, reading)

    return run


@fault("task", "writes_its_file", "into OUT")
def leaves_it_empty():
    "Opens OUT alone."
    return lambda model, reading, out: out.touch()


@fault("task", "is_the_same_each_time", "seed what is drawn")
def draws():
    "Adds noise that nobody seeded."
    return lambda model, reading, out: (
        out.write_text(str(_sum(model, reading) + np.random.default_rng().random())) and None
    )


@fault("task", "works_without_torch", "the runtime has no torch")
def sums_with_torch():
    "Uses torch where NumPy would do."

    def run(model, reading, out):
        import torch

        out.write_text(str(float(torch.tensor(_sum(model, reading)))))

    return run
