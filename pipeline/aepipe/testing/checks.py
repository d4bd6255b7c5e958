"""Which checks there are for each kind of component."""

from __future__ import annotations

from importlib import import_module

from aepipe.plugins.kinds import KINDS

from .report import Check


def checks_of(kind: str) -> dict[str, Check]:
    """Name to check, in the order in which they run. Raises ImportError where the training extra is not installed."""
    from .factories import FACTORY_CHECKS

    module = import_module(f".{KINDS[kind].checks}", __package__)
    return {check.__name__: check for check in (*FACTORY_CHECKS, *module.CHECKS)}
