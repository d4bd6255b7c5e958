"""aepipe: train an autoencoder in PyTorch, export it to ONNX with a density on its codes, run it anywhere.

Importing this package imports none of torch, onnx and onnxruntime: each name below imports its stage when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pluggy import HookimplMarker

from ._version import __version__
from .errors import AepipeError, BadInput, DensityRefused, ParityError, PrecisionRefused, ProviderUnavailable

if TYPE_CHECKING:
    from aepipe.images.code_files import pack_codes, unpack_codes
    from aepipe.runtime.model import Model, load
    from aepipe.workshop.export.foreign import export_modules
    from aepipe.workshop.fit import fit, resume
    from aepipe.workshop.run import Run

hookimpl = HookimplMarker("aepipe")

_LAZY = {
    "export_modules": "workshop.export.foreign",
    "load": "runtime.model",
    "Model": "runtime.model",
    "pack_codes": "images.code_files",
    "unpack_codes": "images.code_files",
    "Run": "workshop.run",
    "fit": "workshop.fit",
    "resume": "workshop.fit",
}

__all__ = [
    "AepipeError",
    "BadInput",
    "DensityRefused",
    "Model",
    "ParityError",
    "PrecisionRefused",
    "ProviderUnavailable",
    "Run",
    "__version__",
    "export_modules",
    "fit",
    "hookimpl",
    "load",
    "pack_codes",
    "resume",
    "unpack_codes",
]


def __dir__() -> list[str]:
    """The public names alone, also before they are used."""
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'aepipe' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
