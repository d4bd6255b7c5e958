"""What the judge says of samples of several densities of the same codes: python compare.py [--data mnist]

The plugins aepipe-matching and aepipe-flow must be installed. The program trains the lecture's autoencoder, fits each density
to its codes, exports all, and calls `aepipe eval --density` for each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import aepipe

DENSITIES = ("gaussian", "gmm50=gmm:components=50", "gmm200=gmm:components=200", "flow", "matching")
COLUMNS = ("frechet", "kernel", "precision", "recall", "density", "coverage", "two_sample")


def judged(bundle: Path, data: str, density: str, seed: int) -> dict[str, dict[str, float]]:
    """The judge's figures for samples, reconstructions and training images."""
    command = [sys.executable, "-m", "aepipe", "eval", bundle, "--data", data, "--density", density, "--json"]
    done = subprocess.run([*map(str, command), "--seed", str(seed)], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def line(name: str, rows: list[dict[str, float]]) -> str:
    """The mean over the seeds and half of the range, for each figure."""
    cells = []
    for column in COLUMNS:
        values = [row[column] for row in rows]
        cells.append(f"{sum(values) / len(values):.3g} ± {(max(values) - min(values)) / 2:.1g}")
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--latent-dim", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        recipe = {"latent_dim": given.latent_dim, "epochs": given.epochs, "densities": DENSITIES}
        bundle = aepipe.fit(given.data, **recipe, out=home / "run").export(home / "bundle")
        print("| |", " | ".join(COLUMNS), "|\n|---|" + "--:|" * len(COLUMNS))
        for density in DENSITIES:
            name = density.partition("=")[0]
            found = [judged(bundle, given.data, name, seed) for seed in range(given.seeds)]
            print(line(f"samples, {name}", [each["samples"] for each in found]), flush=True)
        for anchor in ("reconstructions", "train"):
            print(line(anchor, [each[anchor] for each in found]))
