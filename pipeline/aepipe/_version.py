"""The version, in a module of its own, so that nobody imports the whole package to say it."""

from __future__ import annotations

__version__ = "0.1.0"
