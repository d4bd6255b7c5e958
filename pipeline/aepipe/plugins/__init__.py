"""Plugins and what they bring: discovery, look-up of components by name, spec strings.

The names below are public; the modules of this room are private.
"""

from __future__ import annotations

from .components import Choice, Component, Plugin
from .kinds import KINDS
from .lookup import HOOKS, Registry, choose, create, names, registry
from .specs import Range, drawn

__all__ = [
    "HOOKS",
    "KINDS",
    "Choice",
    "Component",
    "Plugin",
    "Range",
    "Registry",
    "choose",
    "create",
    "drawn",
    "names",
    "registry",
]
