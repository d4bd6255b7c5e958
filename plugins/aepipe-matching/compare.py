"""What the judge says of samples of several densities on the same codes: python compare.py [--data mnist]

The plugins aepipe-matching and aepipe-flow must be installed. The program trains the lecture's autoencoder, fits each density
to its codes, exports all, and judges decoded samples in ONNX Runtime, as `aepipe eval --density` does.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import aepipe
from aepipe.images.data import open_images
from aepipe.judging.judge import Judge, shipped
from aepipe.judging.samples import judge_each_density

DENSITIES = ("gaussian", "gmm50=gmm:components=50", "gmm200=gmm:components=200", "flow", "matching")
COLUMNS = ("frechet", "kernel", "precision", "recall", "density", "coverage", "two_sample")


def compare(
    data: str, latent: int, epochs: int, count: int, seeds: int, folder: Path
) -> dict[str, list[dict[str, float]]]:
    """The judge's figures for each density, one row for each seed of the samples."""
    run = aepipe.fit(data, latent_dim=latent, epochs=epochs, densities=DENSITIES, out=folder / "run")
    test, train = open_images(data), open_images(data, split="train")
    found: dict[str, list[dict[str, float]]] = {}
    with aepipe.load(run.export(folder / "bundle"), provider="cpu", batch_size=500) as model:
        judge = Judge(shipped("mnist"), model.shape, model.provider)
        for seed in range(seeds):
            each = judge_each_density(model, judge, test, train, model.bundle.densities, count=count, seed=seed)
            for name, rows in each.items():
                found.setdefault(name, []).append(rows["samples"])
            for anchor in ("reconstructions", "train"):
                found.setdefault(anchor, []).append(rows[anchor])
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--latent-dim", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        table = compare(given.data, given.latent_dim, given.epochs, given.count, given.seeds, Path(temporary))
    print("| samples of |", " | ".join(COLUMNS), "|\n|---|" + "--:|" * len(COLUMNS))
    for name, rows in table.items():
        cells = []
        for column in COLUMNS:
            values = [row[column] for row in rows]
            middle, spread = sum(values) / len(values), (max(values) - min(values)) / 2
            cells.append(f"{middle:.3g} ± {spread:.1g}")
        print(f"| {name} |", " | ".join(cells), "|")
