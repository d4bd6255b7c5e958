"""Running a bundle with NumPy and ONNX Runtime alone, never torch.

Public: the names below, which a plugin that brings a provider builds on. The modules of this room are private.
"""

from __future__ import annotations

from .providers import FirstAvailable, OnnxRuntime, Provider, Session, provider

__all__ = ["FirstAvailable", "OnnxRuntime", "Provider", "Session", "provider"]
