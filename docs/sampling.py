"""How good the samples of each density are, beside what could be reached, by the judge that ships with aepipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aepipe
from aepipe.data import open_images
from aepipe.judge import Judge, shipped
from aepipe.quality import judged

COLUMNS = ("frechet", "kernel", "precision", "recall", "two_sample", "log_likelihood")


def judge_samples(data: str, bundle: Path, count: int) -> dict[str, dict[str, float]]:
    """The judge's figures for training images, reconstructions, mid-points, and samples of every density of the bundle."""
    test, train = (open_images(data, split=split) for split in ("test", "train"))
    found: dict[str, dict[str, float]] = {}
    with aepipe.load(bundle, "cpu", batch_size=500) as model:
        judge = Judge(shipped("mnist"), model.shape, model.provider)
        for density in model.bundle.densities:
            figures = judged(model, judge, test, train, density=density, count=count)
            for anchor in ("train", "reconstructions", "midpoints", "midpoints_slerp"):
                kept = {key: value for key, value in figures[anchor].items() if key != "log_likelihood"}
                found.setdefault(anchor, kept)
            found[f"samples, {density}"] = figures["samples"]
            if "midpoints_density" in figures:
                found[f"midpoints, {density}"] = figures["midpoints_density"]
    return found


def sample_lines(found: dict[str, dict[str, float]]) -> list[list[str]]:
    """A line for each set, the figures as text; the Fréchet distance also by that of the reconstructions."""
    base = found["reconstructions"]["frechet"]
    lines = []
    for name, figures in found.items():
        cells = [f"{figures[key]:.3g}" if key in figures else "–" for key in COLUMNS]
        lines.append([name, f"{figures['frechet'] / base:.2f}", *cells])
    return lines


def header() -> list[Any]:
    return ["images", "by reconstructions", *COLUMNS]
