"""Uses an exported bundle with numpy and ONNX Runtime alone.

python host.py BUNDLE encode|decode|reconstruct|interpolate|sample|time IN.npy OUT.npy

Arrays are float32: samples [N, C, *sides] as the graphs take them, codes [N, *latent], standard normal noise [N, k].
`interpolate` writes 12 samples, from one to another; `sample` uses the first density, with all labels in turn if it is told one;
`time` writes milliseconds of 100 decodes.
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


def opened(bundle, role, density=None):
    """The graph of a role, as a function from array to array."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    if manifest["format"] > 2:
        sys.exit(f"{bundle} has format {manifest['format']}, this program reads formats 1 and 2")
    if role == "sample" and not manifest["densities"]:
        sys.exit(f"{bundle} has no density to sample from")
    wanted = (role, density or (manifest["densities"][0] if role == "sample" else None), "fp32", "float")
    found = {(g["role"], g.get("density"), g["precision"], g.get("io", "float")): g["file"] for g in manifest["graphs"]}
    session = ort.InferenceSession(str(bundle / found[wanted]), providers=["CPUExecutionProvider"])
    first, *further = [each.name for each in session.get_inputs()]

    def run(values):
        labels = {name: np.arange(len(values)) % manifest["classes"] for name in further}
        return session.run(None, {first: values, **labels})[0]

    return run


def between(ends):
    if len(ends) != 2:
        sys.exit(f"interpolate takes 2 images, not {len(ends)}")
    alpha = np.linspace(0, 1, STEPS, dtype=np.float32).reshape(-1, *(1,) * (ends.ndim - 1))
    return (1 - alpha) * ends[0] + alpha * ends[1]


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
    main(*sys.argv[1:]) if len(sys.argv) == 5 else sys.exit(__doc__)
