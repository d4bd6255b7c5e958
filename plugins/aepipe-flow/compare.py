"""Mean log-likelihood of the test images' codes under gaussian, pca and flow: python compare.py [--data mnist]

The plugin must be installed. The program trains one small autoencoder for each latent size, exports it and scores the test
split through ONNX Runtime, as a user of the bundle would.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import aepipe

DENSITIES = ("gaussian", "pca", "flow")


def compare(data: str, latent: int, folder: Path, epochs: int) -> dict[str, float]:
    """The mean log-likelihood of a code of the test split, in nats, by density."""
    run = aepipe.fit(
        data,
        encoder="mlp",
        decoder="mlp",
        latent_dim=latent,
        epochs=epochs,
        densities=DENSITIES,
        precision="fp32",
        out=folder / f"run-d{latent}",
    )
    with aepipe.load(run.export(folder / f"d{latent}"), provider="cpu", batch_size=500) as model:
        return {name: float(model.score(data, name)["log_density"].mean()) for name in DENSITIES}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--latent-dim", type=int, nargs="+", default=[8, 16])
    arguments = parser.parse_args()
    print("d   ", *(f"{name:>10}" for name in DENSITIES))
    with tempfile.TemporaryDirectory() as temporary:
        for size in arguments.latent_dim:
            row = compare(arguments.data, size, Path(temporary), arguments.epochs)
            print(f"{size:<4}", *(f"{row[name]:>10.2f}" for name in DENSITIES), flush=True)
