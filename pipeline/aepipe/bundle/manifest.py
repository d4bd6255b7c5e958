"""The manifest of a bundle: every key, role, graph name and input name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BATCH = "batch"


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


FORMAT = 1


MANIFEST = "manifest.json"


PRECISIONS = ("fp32", "int8", "fp16")  # what export makes


PRECISE = ("encoder", "decoder")  # the roles that have them


IOS = ("float", "uint8")  # float32 NCHW in 0..1, or bytes NHWC


NEEDED = {  # the inputs of each role
    "encoder": ("image",),
    "decoder": ("latent",),
    "sample": ("noise",),
    "log_prob": ("latent",),
    "noise": ("latent",),
    "reconstruct": ("image",),
    "interpolate": ("image_a", "image_b", "alpha"),
    "generate": ("noise",),
}


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Graph:
    """One ONNX graph of a bundle, as the manifest describes it."""

    role: str  # one of NEEDED
    path: Path
    sha256: str
    inputs: dict[str, Any]  # name to dtype and shape
    outputs: dict[str, Any]
    density: str | None
    precision: str
    io: str


def _tensor(layout: str, *sizes: int, dtype: str = "float32") -> dict[str, Any]:
    return {"dtype": dtype, **({"layout": layout} if layout else {}), "shape": [BATCH, *sizes]}


MINIMUM_ONNXRUNTIME = "1.18.0"  # the first to read IR 10; tests/test_compatibility.py runs bundles on it
