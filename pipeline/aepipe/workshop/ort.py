"""The graphs of a bundle in ONNX Runtime's own format, for the runtimes of phones and for those that are built small."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import shutil
from contextlib import redirect_stdout
from pathlib import Path

from aepipe.bundle.manifest import MANIFEST
from aepipe.bundle.reader import Bundle
from aepipe.errors import AepipeError, foreign
from aepipe.runtime.providers import onnxruntime

OPERATORS = "required_operators.config"  # what a build of ONNX Runtime for these graphs alone must have


def fill_ort(directory: Path, folder: Path, platform: str) -> str:
    """Write every graph of a bundle as .ort, the operators that they need, and graphs.json, a manifest of these files.

    `platform` is arm, whose graphs run everywhere, or amd64, whose graphs may be laid out for its processors alone.
    """
    bundle = Bundle(directory)
    for graph in bundle.graphs:
        path = folder / graph.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bundle.content(graph).content)  # which checks it
    with foreign("the graphs cannot be converted", "pip install flatbuffers, which ONNX Runtime's converter needs"):
        _convert(folder, platform)
    manifest = json.loads((directory / MANIFEST).read_bytes())
    for entry in manifest["graphs"]:
        made = (folder / entry["file"]).with_suffix(".ort")
        if not made.is_file():
            raise AepipeError(
                f"ONNX Runtime did not convert {entry['file']}", "leave out its precision, or its density"
            )
        (folder / entry["file"]).unlink()
        entry["file"] = made.relative_to(folder).as_posix()
        entry["sha256"] = hashlib.sha256(made.read_bytes()).hexdigest()
    manifest.pop("files", None)  # what lay beside the graphs stays behind
    (folder / "graphs.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for each in folder.rglob("*.config"):
        if each.name != OPERATORS:
            shutil.move(each, folder / OPERATORS)
    return f"{len(manifest['graphs'])} graphs in ONNX Runtime's format, and graphs.json, which says which is which"


def _convert(folder: Path, platform: str) -> None:
    """Run ONNX Runtime's converter on all graphs in a folder; it prints every step and logs it."""
    before = logging.root.manager.disable
    try:
        logging.disable(logging.INFO)
        onnxruntime()  # with its telemetry off
        from onnxruntime.tools import convert_onnx_models_to_ort as tool

        with redirect_stdout(io.StringIO()):
            tool.convert_onnx_models_to_ort(
                folder, optimization_styles=[tool.OptimizationStyle.Fixed], target_platform=platform
            )
    finally:
        logging.disable(before)
