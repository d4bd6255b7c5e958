"""Which checks there are for each kind of component."""

from __future__ import annotations

from importlib import import_module

from .report import Check

MODULES = {
    "encoder": "networks",
    "decoder": "networks",
    "objective": "objectives",
    "density": "densities",
    "corruption": "corruptions",
    "dataset": "datasets",
    "provider": "providers",
}


def checks_of(kind: str) -> dict[str, Check]:
    """Name to check, in the order in which they run. Raises ImportError where the training extra is not installed."""
    from .factories import FACTORY_CHECKS

    module = import_module(f".{MODULES[kind]}", __package__)
    return {check.__name__: check for check in (*FACTORY_CHECKS, *module.CHECKS)}
