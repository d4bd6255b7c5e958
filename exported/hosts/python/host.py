"""An exported bundle at work with numpy and ONNX Runtime alone.

python host.py BUNDLE encode|decode|reconstruct|interpolate|sample IN.npy OUT.npy

Arrays are float32: images [N, C, H, W] in 0..1, codes [N, latent], noise [N, k] standard normal. `interpolate` takes two
images and writes the 12 between them, both included; `sample` takes noise and uses the first density of the bundle.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort  # noqa: TID253  (this program stands alone)

STEPS = 12


def opened(folder):
    """A function that runs the graph of a role, and the first density's name."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if manifest["format"] > 1:
        sys.exit(f"{folder} has format {manifest['format']}, this program reads format 1")
    precise = [graph for graph in manifest["graphs"] if graph["precision"] == "fp32"]
    files = {(graph["role"], graph.get("density")): folder / graph["file"] for graph in precise}

    def run(values, role, density=None):
        session = ort.InferenceSession(str(files[role, density]), providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: values})[0]

    return run, next(iter(manifest["densities"]), None)


def between(ends):
    if len(ends) != 2:
        sys.exit(f"interpolate takes 2 images, not {len(ends)}")
    alpha = np.linspace(0, 1, STEPS, dtype=np.float32)[:, None]
    return (1 - alpha) * ends[0] + alpha * ends[1]


def main(bundle, task, source, target):
    run, density = opened(Path(bundle))
    values = np.load(source, allow_pickle=False)
    if values.dtype != np.float32:
        sys.exit(f"{source} is {values.dtype}, not float32")
    codes = values
    if task in ("encode", "reconstruct", "interpolate"):
        codes = run(values, "encoder")
    elif task == "sample":
        codes = run(values, "sample", density)
    elif task != "decode":
        sys.exit(f"there is no task {task!r}")
    if task == "interpolate":
        codes = between(codes)
    np.save(target, codes if task == "encode" else run(codes, "decoder"))


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) == 5 else sys.exit(__doc__)
