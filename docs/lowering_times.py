"""Measures single layers of signals and volumes, transposed and lowered, for lowering.md: python docs/lowering_times.py

ONNX Runtime on one thread of the CPU. Each graph runs in a process of its own, by turns, and the least CPU time of a run counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from aepipe.workshop.graphs.lowering import lower
from onnx import TensorProto, helper, numpy_helper

ROUNDS, SECONDS, BATCH = 2, 0.3, 8
LAYERS = [  # channels in and out, kernel, stride, padding, sides
    (32, 32, 3, 2, 0, (100,)),
    (32, 32, 4, 2, 1, (512,)),
    (128, 128, 4, 2, 1, (64,)),
    (32, 1, 5, 1, 0, (1020,)),
    (8, 32, 4, 4, 0, (512,)),
    (32, 32, 3, 2, 0, (9, 9, 9)),
    (32, 32, 4, 2, 1, (12, 12, 12)),
    (64, 32, 4, 2, 1, (8, 8, 8)),
    (32, 1, 5, 1, 0, (12, 12, 12)),
    (8, 32, 4, 2, 1, (8, 8, 8)),
]


def transposed(
    inputs: int, outputs: int, kernel: int, stride: int, pad: int, sides: tuple[int, ...]
) -> onnx.ModelProto:
    """A graph of one transposed convolution and a ReLU."""
    rng, count = np.random.default_rng(0), len(sides)
    weights = {
        "w": rng.standard_normal((inputs, outputs, *[kernel] * count), np.float32),
        "b": rng.standard_normal(outputs, np.float32),
    }
    after = [(side - 1) * stride - 2 * pad + kernel for side in sides]
    settings = {"kernel_shape": [kernel] * count, "strides": [stride] * count, "pads": [pad] * 2 * count}
    nodes = [helper.make_node("ConvTranspose", ["x", "w", "b"], ["t"], **settings)]
    nodes += [helper.make_node("Relu", ["t"], ["y"])]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *sizes])
        for name, sizes in (("x", [inputs, *sides]), ("y", [outputs, *after]))
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "layer", ends[:1], ends[1:], constants)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])


def least_seconds(path: str, shape: tuple[int, ...]) -> float:
    """The least CPU time of a run."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before the import
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    values = np.random.default_rng(0).standard_normal(shape, np.float32)
    session.run(None, {"x": values})
    least, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.thread_time()
        session.run(None, {"x": values})
        least = min(least, time.thread_time() - start)
    return least


def main() -> None:
    print(
        "| channels | kernel, stride | sides | transposed, ms | lowered, ms | ratio | in fp32 |\n|---|---|---|--:|--:|--:|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for layer in LAYERS:
            inputs, outputs, kernel, stride, _, sides = layer
            model, files = transposed(*layer), [Path(folder) / name for name in ("transposed.onnx", "lowered.onnx")]
            onnx.save(model, files[0])
            onnx.save(lower(model, least=0), files[1])
            shape = [str(size) for size in (BATCH, inputs, *sides)]
            best = [float("inf")] * 2
            for which in (0, 1) * ROUNDS:
                command = [sys.executable, __file__, str(files[which]), *shape]
                found = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                best[which] = min(best[which], found)
            first, second = (1e3 * each for each in best)
            left = any(node.op_type == "ConvTranspose" for node in lower(model).graph.node)
            size, times = "×".join(map(str, sides)), f"{first:.2f} | {second:.2f} | {first / second:.2f}"
            print(
                f"| {inputs} to {outputs} | {kernel}, {stride} | {size} | {times} | {'left' if left else 'lowered'} |",
                flush=True,
            )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(least_seconds(sys.argv[1], tuple(map(int, sys.argv[2:]))))
    else:
        main()
