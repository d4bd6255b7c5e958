"""Uses an exported bundle with numpy and ONNX Runtime alone.

python host.py BUNDLE encode|decode|reconstruct|interpolate|sample|time IN.npy OUT.npy
python host.py BUNDLE check

Arrays are float32: samples [N, C, *sides] as the graphs take them, codes [N, *latent], standard normal noise [N, k].
`interpolate` writes 12 samples, from the first of two to the second; `sample` uses the first density; `time` writes the
milliseconds of each of 100 decodes; `check` prepares the bundle's own test input, by Pillow where it is a picture, and compares
every stage with the bundle's test vectors.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before the import: ONNX Runtime sends nothing to its makers
import onnxruntime as ort  # noqa: TID253  (this program stands alone)

STEPS, TIMES = 12, 100


def read(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    if manifest["format"] > 2:
        sys.exit(f"{bundle} has format {manifest['format']}, this program reads formats 1 and 2")
    return manifest


def opened(bundle, role, density=None):
    """The graph of a role, as a function from array to array."""
    manifest = read(bundle)
    density = density or (manifest["densities"][0] if role == "sample" else None)
    wanted = (role, density, "fp32", "float")
    found = {(g["role"], g.get("density"), g["precision"], g.get("io", "float")): g["file"] for g in manifest["graphs"]}
    session = ort.InferenceSession(str(bundle / found[wanted]), providers=["CPUExecutionProvider"])
    return lambda values: session.run(None, {session.get_inputs()[0].name: values})[0]


def between(ends):
    if len(ends) != 2:
        sys.exit(f"interpolate takes 2 images, not {len(ends)}")
    alpha = np.linspace(0, 1, STEPS, dtype=np.float32).reshape(-1, *(1,) * (ends.ndim - 1))
    return (1 - alpha) * ends[0] + alpha * ends[1]


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
    manifest, place = read(bundle), bundle / "vectors"
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


def main(bundle, task, source, target):
    bundle, values = Path(bundle), np.load(source, allow_pickle=False)
    if values.dtype != np.float32:
        sys.exit(f"{source} is {values.dtype}, not float32")
    if task not in ("encode", "decode", "reconstruct", "interpolate", "sample", "time"):
        sys.exit(f"there is no task {task!r}")
    if task not in ("decode", "time"):
        values = opened(bundle, "sample" if task == "sample" else "encoder")(values)
    values = between(values) if task == "interpolate" else values
    if task == "encode":
        return np.save(target, values)
    decode = opened(bundle, "decoder")
    if task == "time":  # the first decode, which is slower, does not count
        stamps = [time.perf_counter() for _ in range(TIMES + 1) if len(decode(values))]
        return np.save(target, np.diff(stamps).astype(np.float32) * 1000)
    np.save(target, decode(values))


if __name__ == "__main__":
    if sys.argv[2:] == ["check"]:
        check(Path(sys.argv[1]))
    main(*sys.argv[1:]) if len(sys.argv) == 5 else sys.exit(__doc__)
