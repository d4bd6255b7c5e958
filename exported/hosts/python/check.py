"""Prepares the bundle's own test input, by Pillow where it is a picture, and compares every stage with its test vectors.

python check.py BUNDLE
"""

import json
import sys
from pathlib import Path

import numpy as np
from host import opened


def prepared(path, data):
    """A file as the input of the graphs, float32 [1, C, *sides]: docs/preparation.md."""
    if path.suffix == ".npy":
        values, raw = np.load(path, allow_pickle=False), data.get("raw") or {}
        low, high = raw.get("range") or (0, 1)
        return ((values - np.float64(low)) / (high - low)).astype(np.float32)
    from PIL import Image, ImageOps

    channels, *sides = data["shape"]
    image = ImageOps.exif_transpose(Image.open(path))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    if None not in sides and image.size != tuple(sides[::-1]):
        image = ImageOps.fit(image, sides[::-1], Image.Resampling.BICUBIC)
    pixels = np.asarray(image, np.float32) / 255
    return (pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))[None]


def check(bundle):
    manifest, place = json.loads((bundle / "manifest.json").read_bytes()), bundle / "vectors"
    if not manifest.get("vectors"):
        sys.exit(f"{bundle} has no test vectors")
    (given,) = place.glob("input.*")
    sample = prepared(given, manifest["data"])
    missing = [(0, -side % manifest["data"]["multiple"]) for side in sample.shape[2:]]
    code = opened(bundle, "encoder")(np.pad(sample, [(0, 0), (0, 0), *missing], "reflect"))
    restored = opened(bundle, "decoder")(code)[(..., *map(slice, sample.shape[2:]))]
    scores = json.loads((place / "scores.json").read_text())
    found = {
        "prepared": sample,
        "latent": code,
        "reconstruction": restored,
        "error": np.square(restored - sample).mean(),
    }
    for density, value in scores["log_density"].items():
        if value is not None:
            found[f"log_density {density}"] = opened(bundle, "log_prob", density)(code)[0]
    worst = 0.0
    for stage, value in found.items():
        name, _, density = stage.partition(" ")
        stated = scores[name] if name in scores else np.load(place / f"{stage}.npy")
        stated = stated[density] if density else stated
        apart = float((np.abs(value - stated) / np.maximum(1, np.abs(stated))).max())
        print(f"{stage}: {apart:.1e}")
        worst = max(worst, apart)
    sys.exit(worst > 1e-4)


if __name__ == "__main__":
    check(Path(sys.argv[1])) if len(sys.argv) == 2 else sys.exit(__doc__)
