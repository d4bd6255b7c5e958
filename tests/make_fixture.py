"""Write the bundle that every later aepipe must load: python tests/make_fixture.py FOLDER (see tests/fixtures/format-1/README.md)."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import aepipe
import numpy as np

README = """# A bundle of format 1, kept

`bundle/` was written by aepipe {version} with `python tests/make_fixture.py {folder}`; `expected.npz` holds inputs of every task and
what that aepipe made of them (ONNX Runtime {runtime} on the CPU). tests/test_compatibility.py runs them through the code of today.

Never regenerate it: it stands for bundles that people have. A new format, or new kinds of graph, get a folder of their own beside it.
"""


def make(folder: Path) -> None:
    """Train, export and run; raises SystemExit where there is something already."""
    if folder.exists():
        sys.exit(f"{folder} is there, and a kept bundle is never made again: give a new folder")
    with tempfile.TemporaryDirectory() as scratch:
        run = aepipe.fit(
            "digits",
            encoder="conv:channels=4",
            decoder="deconv:channels=4",
            latent_dim=4,
            densities=("gaussian", "pca", "gmm:components=3"),
            epochs=30,
            batch_size=50,
            schedule="cosine",
            lr=5e-3,
            out=Path(scratch) / "run",
        )
        run.export(folder / "bundle", precision="fp32,int8", max_drop=0.1)
    np.savez_compressed(folder / "expected.npz", **expected(folder / "bundle"))
    import onnxruntime

    text = README.format(version=aepipe.__version__, folder=folder.as_posix(), runtime=onnxruntime.__version__)
    (folder / "README.md").write_text(text, encoding="utf-8")


def expected(bundle: Path) -> dict[str, np.ndarray]:
    """Inputs of every task and what the runtime makes of them now; names are task or task_density."""
    with aepipe.load(bundle, provider="cpu", threads=1) as model:
        images = model.sample(3, seed=1)
        codes = model.encode(images)
        found = {
            "images": images,
            "encode": codes,
            "decode": model.decode(codes),
            "reconstruct": model.reconstruct(images),
            "interpolate": model.interpolate(images[:1], images[1:2], steps=4),
            "error": model.score(images)["error"],
        }
        for name in model.bundle.densities:
            noise = np.random.default_rng(0).standard_normal((2, model.bundle.noise_features(name)), dtype=np.float32)
            found |= {f"noise_{name}": noise, f"from_noise_{name}": model.from_noise(noise, name)}
            found |= {f"sample_{name}": model.sample(2, name, seed=2)}
            found |= {f"log_density_{name}": model.score(images, name)["log_density"]}
    with aepipe.load(bundle, provider="cpu", precision="int8", threads=1) as model:
        found |= {"reconstruct_int8": model.reconstruct(images)}
    return found


if __name__ == "__main__":
    make(Path(sys.argv[1])) if len(sys.argv) == 2 else sys.exit(__doc__)
