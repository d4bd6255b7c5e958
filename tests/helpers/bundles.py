"""Bundles: their manifests and their graphs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


def manifest_of(bundle: Path) -> dict[str, Any]:
    return json.loads((bundle / "manifest.json").read_text())


def edit_manifest(bundle: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = manifest_of(bundle)
    change(manifest)
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def run_graph(path: Path, values: np.ndarray | None = None, **inputs: np.ndarray) -> np.ndarray:
    """The only output of a graph for the values of its only input, or for inputs by name."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, inputs if values is None else {session.get_inputs()[0].name: values})
    return output
