"""Uses an exported bundle with numpy and ONNX Runtime alone, and Pillow where IN is a picture.

python host.py BUNDLE encode|decode|reconstruct|interpolate|sample|score|time IN OUT.npy
python host.py BUNDLE --check

IN is a picture (.png), samples [N, C, *sides] in the units of the training data (.npy), or float32: codes [N, *latent] to decode
and to time, standard normal noise [N, k] to sample. OUT is float32. `interpolate` writes 12 samples, from one to another; `sample`
and `score` use the first density, and `sample` all labels in turn if it is told one; `score` writes [N, 2]: error and log-density,
NaN where the density does not give it; `time` writes the milliseconds of each of 100 decodes. `--check` compares every stage with
the test vectors of the bundle.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
from check import check, cropped, described, ends, error, padded, prepared

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before the import: ONNX Runtime sends nothing to its makers
import onnxruntime as ort  # noqa: TID253  (this program stands alone)

STEPS, TIMES = 12, 100


def opened(bundle, role, density=None):
    """The graph of a role, as a function from array to array."""
    session = ort.InferenceSession(
        str(bundle / entry(bundle, role, density)["file"]), providers=["CPUExecutionProvider"]
    )
    first, *further = [each.name for each in session.get_inputs()]

    def run(values):
        labels = {name: np.arange(len(values)) % described(bundle)[0]["classes"] for name in further}
        return session.run(None, {first: values, **labels})[0]

    return run


def entry(bundle, role, density=None):
    """What the manifest says of the graph of a role, in fp32 and of floats; ends where there is none."""
    wanted = (role, density, "fp32", "float")
    for graph in described(bundle)[0]["graphs"]:
        if (graph["role"], graph.get("density"), graph["precision"], graph.get("io", "float")) == wanted:
            return graph
    sys.exit(f"{bundle} has no graph: {role}" + (f" of {density}" if density else ""))


def between(ends):
    if len(ends) != 2:
        sys.exit(f"interpolate takes 2 samples, not {len(ends)}")
    alpha = np.linspace(0, 1, STEPS, dtype=np.float32).reshape(-1, *(1,) * (ends.ndim - 1))
    return (1 - alpha) * ends[0] + alpha * ends[1]


def log_density(bundle, code):
    """The log-density of each code in the first density, NaN where it gives none, is told a label, or knows other sizes."""
    density = next(iter(described(bundle)[0]["densities"]), None)
    graphs = [graph for graph in described(bundle)[0]["graphs"] if graph["role"] == "log_prob"]
    for graph in graphs:
        untold, known = list(graph["inputs"]) == ["latent"], graph["inputs"]["latent"]["shape"][1:]
        if graph["density"] == density and untold and list(code.shape[1:]) == known:
            return opened(bundle, "log_prob", density)(code)
    return np.full(len(code), np.nan, np.float32)


def main(bundle, task, source, target):
    _, data = described(bundle)
    if task not in ("encode", "decode", "reconstruct", "interpolate", "sample", "score", "time"):
        sys.exit(f"there is no task {task!r}")
    if task in ("decode", "sample", "time"):
        code = np.load(source, allow_pickle=False)
        if code.dtype != np.float32:
            sys.exit(f"{source} is {code.dtype}, not float32")
        if task == "sample":
            code = opened(bundle, "sample", next(iter(described(bundle)[0]["densities"]), None))(code)
    else:
        sample = prepared(Path(source), data)
        code = opened(bundle, "encoder")(padded(sample, data))
    if task == "encode":
        return np.save(target, code)
    decode = opened(bundle, "decoder")
    if task == "time":  # the first decode, which is slower, does not count
        stamps = [time.perf_counter() for _ in range(TIMES + 1) if len(decode(code))]
        return np.save(target, np.diff(stamps).astype(np.float32) * 1000)
    made = decode(between(code) if task == "interpolate" else code)
    if task in ("reconstruct", "interpolate", "score"):
        made = cropped(made, sample)
    if task == "score":
        return np.save(target, np.stack([error(made, sample), log_density(bundle, code)], 1))
    low, high = ends(data)
    np.save(target, (made * (high - np.float64(low)) + low).astype(np.float32))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[2] == "--check":
        check(Path(sys.argv[1]), opened)
    main(Path(sys.argv[1]), *sys.argv[2:]) if len(sys.argv) == 5 else sys.exit(__doc__)
