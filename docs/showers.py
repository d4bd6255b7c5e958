"""Showers in a calorimeter: reconstructed, sampled and compared with the simulation, and electrons told from pions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import aepipe
import numpy as np
from aepipe import figures
from aepipe.benchmark.report import table
from aepipe.images.data import open_images
from aepipe.judging.metrics import evaluate
from aepipe.judging.one_class import one_class
from scipy.stats import ks_2samp

D, SHOWN = 16, 6
NAMES = ("energy", "depth", "width")  # of summaries, and their units
UNITS = ("sum of all cells [GeV]", "mean depth [layers]", "width (rms) [cells]")

SECTION = """\
## Showers

{count:,} showers of electrons of 5 to 100 GeV, 12×12×12 cells, log10(1 + E / MeV):
`aepipe train --data showers:only=electron --latent-dim {d}`. PSNR of reconstructions of test showers: {ae:.1f} dB (PCA with as many
numbers: {pca:.1f} dB).

![test showers, reconstructions and samples](showers.png)

### Samples

`aepipe infer sample`, beside the {many:,} test showers. The distance is that of Kolmogorov and Smirnov between the distributions (0
equal, 1 apart). The line of training showers says what two samples of the simulation differ by.

{samples}

The squared error of logarithms makes of a cell that seldom holds anything nearly nothing, so that reconstructions and samples lack
the scattered cells about the core, and are too narrow.

![distributions of energy, depth and width, and the longitudinal profile](profiles.png)

### Electrons and pions

`aepipe eval --normal 0`: the area under the ROC curve between electrons and pions, of which none trained.

{detection}
"""


def shower_section(count: int, model: Callable[..., aepipe.Model], out: Path) -> str:
    """Train on `count` electrons, measure, draw two figures into `out`; returns this part of the page."""
    data = f"showers:only=electron,count={count}"
    models = {"autoencoder": model("showers", data, D), "PCA": model("showers-pca", data, D, pca=True)}
    train, test = (open_images(data, split=split) for split in ("train", "test"))
    ratios = [evaluate(each.reconstruct_batch, test)["psnr"] for each in models.values()]
    simulated = (source.read(np.arange(len(test))) for source in (test, train))  # in 0..1, as graphs have them
    real, known = (models["autoencoder"].in_units(each) for each in simulated)
    restored = models["autoencoder"].reconstruct(real)
    sampled = {name: each.sample(len(real), seed=0) for name, each in models.items()}
    top = float(real.max())
    rows = [("test", real), ("restored", restored), *((f"samples, {name}", each) for name, each in sampled.items())]
    shown = [(name, np.clip(each[:SHOWN] / top, 0, 1)) for name, each in rows]
    figures.save(figures.rows(shown, title="Showers", subtitle="electrons; log10(1 + E / MeV)"), out / "showers.png")
    sets = {"training showers": known, "reconstructions": restored}
    sets |= {f"samples, {name}": each for name, each in sampled.items()}
    wanted = summaries(real)
    lines = [[name, *distances(summaries(each), wanted)] for name, each in sets.items()]
    draw_profiles({"test showers": real, **sets}, out / "profiles.png")
    mixed, scores = open_images(f"showers:count={count}", split="test"), ("error", "log_density", "combined")
    found = {name: one_class(each, mixed, train, 0)["auroc"] for name, each in models.items()}
    told = [[name, *(f"{areas[score]:.3f}" for score in scores)] for name, areas in found.items()]
    return SECTION.format(
        count=count,
        many=len(real),
        d=D,
        ae=ratios[0],
        pca=ratios[1],
        samples=table(["set", *NAMES], lines),
        detection=table(["model", "error", "density", "both"], told),
    )


def energies(showers: np.ndarray) -> np.ndarray:
    """Deposits [N, D, H, W] in GeV of logarithms [N, 1, D, H, W]."""
    return (10 ** showers[:, 0].astype(np.float64) - 1) / 1000


def summaries(showers: np.ndarray) -> dict[str, np.ndarray]:
    """Energy, mean depth and width [N] of each shower."""
    deposits = energies(showers).clip(0)
    total = deposits.sum((1, 2, 3)).clip(1e-9)
    by_depth, by_row = deposits.sum((2, 3)) / total[:, None], deposits.sum((1, 3)) / total[:, None]
    place = np.arange(by_row.shape[1])
    middle = by_row @ place
    width = np.sqrt((by_row * (place - middle[:, None]) ** 2).sum(1))
    return dict(zip(NAMES, (total, by_depth @ np.arange(by_depth.shape[1]), width), strict=True))


def distances(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> list[str]:
    """The distance of Kolmogorov and Smirnov for each summary, as text."""
    return [f"{ks_2samp(found[name], wanted[name]).statistic:.3f}" for name in NAMES]


def draw_profiles(sets: dict[str, np.ndarray], path: Path) -> None:
    """Histograms of the summaries, and the mean energy of each layer."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3), dpi=100, layout="constrained")
    axes = figure.subplots(1, 4)
    found = {name: summaries(showers) for name, showers in sets.items()}
    (first, *_) = found.values()
    for axis, name, unit in zip(axes, NAMES, UNITS, strict=False):
        bins = np.linspace(*np.percentile(first[name], [0, 100]), 40)
        for label, each in found.items():
            axis.hist(each[name], bins, histtype="step", label=label)
        axis.set_xlabel(unit)
    for label, showers in sets.items():
        axes[3].plot(energies(showers).sum((2, 3)).mean(0), label=label)
    axes[3].set_xlabel("layer")
    axes[3].set_ylabel("mean energy [GeV]")
    axes[3].legend(frameon=False, fontsize=8)
    figure.savefig(path)
