"""What open sides cost: python -m tests.programs.bench_sizes

The decoder of `resnet-map` (8 channels of code) as aepipe exports it, with sides that vary, beside an export of the same
weights with fixed sides, in ONNX Runtime on one thread of the CPU. Each run is a process of its own, the two take turns,
and the least CPU time of a call counts, which what else the machine does disturbs least.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SIDES, CHANNELS, ROUNDS, SECONDS, LEAST = (128, 512), 8, 5, 1.0, 3


def least_seconds(path: str, side: int) -> float:
    """The least CPU time of a call on one code of an image with this side."""
    import aepipe  # noqa: F401  # so that telemetry is off
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    code = np.random.default_rng(0).standard_normal((1, CHANNELS, side // 8, side // 8), dtype=np.float32)
    session.run(None, {"latent": code})
    found: list[float] = []
    while len(found) < LEAST or sum(found) < SECONDS:
        start = time.process_time()
        session.run(None, {"latent": code})
        found.append(time.process_time() - start)
    return min(found)


def export(folder: Path) -> dict[str, Path]:
    """Decoders of the same weights by the sides that they take: "any", "128", …; speed does not depend on what they are."""
    import torch
    from aepipe.space import Size, Space
    from aepipe.workshop.export.to_onnx import export_graphs, jobs
    from aepipe.workshop.training.model import build, frozen

    torch.manual_seed(0)
    specs = {"encoder": "resnet-map", "decoder": "resnet-map", "objective": "mse"}
    shape, trained = (1, 64, 64), Size(CHANNELS, 8, 8)
    model = frozen(build(specs, shape, trained, 0.5, 0.25))
    found = {}
    for side in (None, *SIDES):
        small = None if side is None else side // 8
        steps = (8, 1) if side is None else (1, 1)
        own = folder / str(side or "any")
        asked = jobs(model, {}, Space.of((1, side, side)), Size(CHANNELS, small, small), trained, steps)
        export_graphs([job for job in asked if job.graph.role == "decoder"], own, {}, lowered=True)
        found[own.name] = own / "decoder.onnx"
    return found


def measure(path: Path, side: int) -> float:
    words = [sys.executable, "-m", "tests.programs.bench_sizes", "--one", str(path), str(side)]
    return float(subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True).stdout)


def open_sides(folder: Path) -> Iterator[str]:
    """One line for each side."""
    graphs = export(folder)
    for side in SIDES:
        pairs = [(measure(graphs[str(side)], side), measure(graphs["any"], side)) for _ in range(ROUNDS)]
        fixed, varying = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = [b / a for a, b in pairs]
        spread = f"median of {ROUNDS} pairs, {min(ratios):.3f} to {max(ratios):.3f}; at most 1.05"
        times = f"with fixed sides {fixed:.1f} ms, with open sides {varying:.1f} ms"
        yield f"decoder of one image of {side}×{side} {times}, ratio {statistics.median(ratios):.3f} ({spread})"


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(least_seconds(sys.argv[2], int(sys.argv[3])))
        return
    with tempfile.TemporaryDirectory() as name:
        for line in open_sides(Path(name)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
