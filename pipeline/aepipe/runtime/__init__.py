"""Runs a bundle with NumPy and ONNX Runtime alone, never with torch.

The names below are public: a plugin that brings a provider may build on them. The modules of this room are private.
"""

from __future__ import annotations

from .providers import FirstAvailable, OnnxRuntime, Provider, Session, provider

__all__ = ["FirstAvailable", "OnnxRuntime", "Provider", "Session", "provider"]
