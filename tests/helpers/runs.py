"""Comparing runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from aepipe.workshop.run import Run
from aepipe.workshop.training.model import load_tensors


def assert_same(run: Path, reference: Path) -> None:
    """Bit for bit: weights and optimiser, best and last, codes, held-out images, densities, metrics."""
    files = sorted(path.relative_to(reference) for path in reference.rglob("*") if path.is_file())
    assert sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file()) == files
    assert len([file for file in files if file.suffix == ".safetensors"]) == 4
    for file in files:
        if file.suffix == ".safetensors":
            ours, theirs = load_tensors(run / file)[0], load_tensors(reference / file)[0]
            assert ours.keys() == theirs.keys()
            assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == [], file
        elif file.suffix == ".npz":
            with np.load(run / file) as ours, np.load(reference / file) as theirs:
                assert all(np.array_equal(ours[name], theirs[name]) for name in theirs), file
    assert history(run) == history(reference)
    ours, theirs = Run(run), Run(reference)
    assert ours.finished and ours.config["metrics"] == theirs.config["metrics"]
    assert ours.config["densities"] == theirs.config["densities"]


def history(run: Path) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "images_per_second"} for row in Run(run).history]
