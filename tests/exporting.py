"""What the tests of export share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
from aepipe import cli as commands

SMALL = {"encoder": "mlp:hidden=16", "decoder": "mlp:hidden=16", "latent_dim": 2, "epochs": 1, "show": False}


def images(count: int = 80) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (255 * rng.random((count, 1, 4, 4)).repeat(2, axis=2).repeat(2, axis=3)).astype(np.uint8)


def manifest_of(bundle: Path) -> dict:
    return json.loads((bundle / "manifest.json").read_text())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run_graph(path: Path, values: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: values})
    return output


def refused(capsys, *arguments: object, code: int = 2) -> str:
    assert commands.run([str(argument) for argument in arguments]) == code
    said = capsys.readouterr().err
    assert "error: " in said and "hint: " in said and "Traceback" not in said
    return said
