"""The version. It has its own module, so that reading it does not import the whole package."""

from __future__ import annotations

__version__ = "0.1.0"
