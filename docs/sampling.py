"""Judges how good the samples of each density are, beside what could be reached, with the judge that ships with aepipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aepipe
import numpy as np
from aepipe import figures
from aepipe.images.data import open_images
from aepipe.judging.judge import Judge, shipped
from aepipe.judging.samples import judge_each_density

TITLES = {"pca": "PCA", "conv": "Autoencoder", "resnet": "Residual autoencoder"}
SAMPLED = 8  # samples are shown from the lecture's networks with this latent size or a larger one
COLUMNS = ("frechet", "kernel", "precision", "recall", "density", "coverage", "two_sample", "log_likelihood")
PATH_COLUMNS = ("pairs", "class_kept", "length", "largest_step")


def judge_samples(data: str, bundle: Path, count: int) -> dict[str, dict[str, Any]]:
    """The judge's figures for training images, reconstructions, mid-points, and samples of every density of the bundle.

    Under "paths" are its figures for each path: linear, slerp, and by the names of densities.
    """
    test, train = (open_images(data, split=split) for split in ("test", "train"))
    found: dict[str, dict[str, Any]] = {}
    paths: dict[str, dict[str, float]] = {}
    with aepipe.load(bundle, "cpu", batch_size=500) as model:
        judge = Judge(shipped("mnist"), model.shape, model.provider)
        each = judge_each_density(model, judge, test, train, model.bundle.densities, count=count)
    for density, rows in each.items():
        for anchor in ("train", "reconstructions", "midpoints", "midpoints_slerp"):
            kept = {key: value for key, value in rows[anchor].items() if key != "log_likelihood"}
            found.setdefault(anchor, kept)
        found[f"samples, {density}"] = rows["samples"]
        if "midpoints_density" in rows:
            found[f"midpoints, {density}"] = rows["midpoints_density"]
        paths |= {density if way == "density" else way: row for way, row in rows["paths"].items()}
    return {**found, "paths": paths}


def sample_figures(models: dict[tuple[str, int], aepipe.Model], best: int, real: np.ndarray, out: Path) -> None:
    """Draw a sheet of samples for every density of some models: of the lecture's networks from d = SAMPLED on, and of the
    residual one at d = `best`. In addition, `samples.png` shows a row of samples for each density at d = `best`."""
    named = [("test images", real)]
    for (kind, d), model in models.items():
        if (kind, d) != ("resnet", best) and (kind != "conv" or d < SAMPLED):
            continue
        for density in model.bundle.densities:
            images = model.sample(60, density, seed=0)
            title = f"{TITLES[kind]}, d = {d}"
            picture = figures.sheet(images, title=title, subtitle=f"density {density}", columns=12)
            figures.save(picture, out / f"sample-{kind}-d{d}-{density}.png")
            if d == best:
                named.append((f"{kind}, {density}", images[: len(real)]))
    subtitle = "decoded samples of each density; conv are the lecture's networks, resnet the residual ones"
    figures.save(figures.rows(named, title=f"Samples, d = {best}", subtitle=subtitle), out / "samples.png")


def sets(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The judged sets of images among what `judge_samples` found."""
    return {name: row for name, row in found.items() if name != "paths"}


def sample_lines(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    """A line for each set with its figures as text; the Fréchet distance is also given by that of the reconstructions."""
    base = found["reconstructions"]["frechet"]
    return [[name, f"{row['frechet'] / base:.2f}", *_cells(row, COLUMNS)] for name, row in sets(found).items()]


def path_lines(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    """A line for each path with its figures as text; none where paths were not followed."""
    return [[name, *_cells(row, PATH_COLUMNS)] for name, row in found.get("paths", {}).items()]


def header() -> list[Any]:
    return ["images", "relative", *COLUMNS]


def _cells(row: dict[str, float], columns: tuple[str, ...]) -> list[str]:
    return [f"{row[key]:.3g}" if key in row else "–" for key in columns]
