"""Finds out what works in this environment, by trying it."""

from __future__ import annotations

import base64
import os
import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from aepipe.runtime import providers
from aepipe.runtime.providers import brief

from . import plugins
from ._version import __version__
from .errors import AepipeError

# The ONNX graph y = x: it lets a provider be tried without a bundle and without the onnx package.
PROBE = base64.b64decode("CAg6OwoQCgF4EgF5IghJZGVudGl0eRIFcHJvYmVaDwoBeBIKCggIARIECgIIAWIPCgF5EgoKCAgBEgQKAggBQgQKABAR")


def examine() -> list[dict[str, Any]]:
    """A list of findings with the keys what, ok, found and fix; `ok` is None for an optional part that is absent."""
    findings = [_finding("aepipe", True, f"{__version__}, Python {platform.python_version()}, {platform.platform()}")]
    installed = providers.installed_runtimes()
    both = len(installed) > 1
    findings.append(
        _finding(
            "ONNX Runtime",
            len(installed) == 1,
            ", ".join(installed) or "none",
            "" if len(installed) == 1 else providers.runtime_fix(),
        )
    )
    if both:
        findings[-1]["found"] += " (they overwrite one another)"
    findings += [_provider("cpu", needed=True), _provider("cuda", needed=False), _training()]
    data = os.environ.get("AEPIPE_DATA")
    findings.append(
        _finding(
            "AEPIPE_DATA",
            None if not data else Path(data).is_dir(),
            data or "not set",
            "" if not data else "name a folder",
        )
    )
    return findings + _plugins()


def _finding(what: str, ok: bool | None, found: str, fix: str = "") -> dict[str, Any]:
    return {"what": what, "ok": ok, "found": found, "fix": "" if ok else fix}


def _provider(name: str, needed: bool) -> dict[str, Any]:
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "probe.onnx"
            path.write_bytes(PROBE)
            session = providers.provider(name).open(path)
            answer = session.run({"x": np.array([1.5], np.float32)})["y"]
            session.close()
        return _finding(f"provider {name}", bool(answer[0] == 1.5), "runs")
    except AepipeError as error:
        return _finding(f"provider {name}", False if needed else None, error.message, error.hint)


def _training() -> dict[str, Any]:
    missing = [
        name
        for name in ("torch", "onnx", "onnxscript", "safetensors", "scikit-learn", "matplotlib")
        if not _version(name)
    ]
    if missing:
        return _finding("training", None, f"without {', '.join(missing)}", "pip install 'aepipe[train]'")
    try:
        import torch

        from aepipe.workshop.training.device import choose_device, has_fast_bf16
    except (ImportError, OSError) as error:
        return _finding(
            "training", False, f"torch does not load: {brief(error)}", "pip install --force-reinstall torch"
        )
    device = choose_device("auto")
    fast = "bf16" if has_fast_bf16(device) else "fp32"
    return _finding("training", True, f"torch {torch.__version__} on {device.type}, {fast}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _plugins() -> list[dict[str, Any]]:
    registry = plugins.registry()
    for kind in plugins.KINDS:
        registry.components(kind)
    broken = [plugin for plugin in registry.plugins if plugin.errors]
    if not broken:
        return [_finding("plugins", True, f"{len(registry.plugins)} entry points, all load")]
    found = "; ".join(f"{plugin.name} of {plugin.distribution}: {plugin.errors[0]}" for plugin in broken)
    return [_finding("plugins", False, found, "upgrade or uninstall what is broken; see 'aepipe plugins'")]
