"""Exports a method of a module and compares the ONNX graph with torch at several batch sizes. Only the checks import this."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from aepipe._types import Array
from aepipe.bundle.manifest import Graph, tensor
from aepipe.errors import AepipeError
from aepipe.plugins.calling import call
from aepipe.runtime.providers import OnnxRuntime
from aepipe.workshop.export.gate import BATCHES, CODE_TOLERANCE, IMAGE_TOLERANCE
from aepipe.workshop.export.to_onnx import FROZEN, Job, export_graphs

from .report import Finding, require

ROWS = sum(BATCHES)


@torch.no_grad()
def check_graphs(
    module: nn.Module,
    calls: Mapping[str, Tensor],
    *,
    images: bool = False,
    labels: Mapping[str, Tensor] | None = None,
) -> None:
    """Export methods of a module and compare each with torch on its values [ROWS, …] at each batch size of the parity gate.

    With `images` the tolerance is absolute, for values in 0..1; without it is relative to max(1, |value|). `labels` are those
    of methods that name `label`. Raises Finding.
    """
    module.eval()
    told = {method: {"label": each} for method, each in (labels or {}).items()}
    expected = {
        method: call(getattr(module, method), {"value": values.clone()}, also=told.get(method))
        for method, values in calls.items()
    }
    jobs = [_job(module, method, values, expected[method], method in told) for method, values in calls.items()]
    with tempfile.TemporaryDirectory() as folder:
        try:
            export_graphs(jobs, Path(folder), {}, lowered=True)
        except AepipeError as error:
            change = "use operations of torch that ONNX has; no Python control flow, item() or sizes that depend on the values"
            raise Finding(error.message, error.hint if error.typed == FROZEN else change) from error
        for job in jobs:
            given = {"value": calls[job.method], **told.get(job.method, {})}
            arrays = {name: each.numpy() for name, each in given.items()}
            _run_at_all_sizes(job, Path(folder), arrays, expected[job.method].numpy(), images)


def _job(module: nn.Module, method: str, values: Tensor, result: Tensor, labelled: bool) -> Job:
    given, made = {"value": tensor(*values.shape[1:])}, {"result": tensor(*result.shape[1:])}
    given |= {"label": tensor(dtype="int64")} if labelled else {}
    return Job(module, method, Graph(role="part", file=f"{method}.onnx", inputs=given, outputs=made))


def _run_at_all_sizes(job: Job, folder: Path, values: Mapping[str, Array], expected: Array, images: bool) -> None:
    session = OnnxRuntime("CPUExecutionProvider", {}).open(folder / job.graph.file, threads=1)
    start = 0
    for count in BATCHES:
        part = slice(start, start := start + count)
        try:
            (got,) = session.run({name: each[part] for name, each in values.items()}).values()
        except Exception as error:  # ONNX Runtime's errors have no common base class
            wrong = f"the graph of {job.method}, exported at batch 2, fails at batch {count}: {str(error)[-200:]}"
            raise Finding(wrong, "take no size from the batch: write flatten(1), or -1 for the first size") from error
        _compare(f"the graph of {job.method} at batch {count}", got, expected[part], images)
    session.close()


def _compare(what: str, got: Array, expected: Array, images: bool) -> None:
    require(
        got.shape == expected.shape and got.dtype == expected.dtype,
        f"{what} gives {got.dtype} {list(got.shape)}, torch gives {expected.dtype} {list(expected.shape)}",
        "let the output's shape follow from the input's, and keep everything float32",
    )
    tolerance = IMAGE_TOLERANCE if images else CODE_TOLERANCE
    worst = float((np.abs(got - expected) / (1 if images else np.maximum(1, np.abs(expected)))).max())
    require(
        worst <= tolerance,
        f"{what} differs from torch by {worst:.2g}, the tolerance is {tolerance:.0e}",
        "look for randomness, for state that forward changes, and for what depends on the batch",
    )
