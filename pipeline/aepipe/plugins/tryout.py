"""Calls each factory that is not aepipe's own once, so that `aepipe plugins` can say which of them do not work."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from aepipe.errors import AepipeError

from .components import Component, Plugin
from .kinds import KINDS
from .lookup import Registry


def try_factories(registry: Registry) -> None:
    """Call each factory that is not aepipe's own with its defaults, and add its errors to the plugin's errors or notes.

    Without torch, the factories of torch modules are not called.
    """
    for plugin, component in _strangers(registry):
        if KINDS[component.kind].needs_torch and find_spec("torch") is None:
            continue
        required = [option.name for option in component.options if option.required]
        if required:
            plugin.notes.append(f"{component} needs the option {', '.join(map(repr, required))}")
            continue
        with plugin.noting(f"{component}: its factory raised"):
            if refusal := _refusal(component):
                plugin.notes.append(f"{component} refuses its defaults here: {refusal}")


def _refusal(component: Component) -> str:
    """Why a factory refuses all usual arguments, as it may: its data is elsewhere, it wants another size. "" if it does not."""
    for arguments in KINDS[component.kind].examples:
        try:
            component.call(arguments, component.settle({}), KINDS[component.kind].also)
            return ""
        except (ValueError, AepipeError) as refusal:
            why = " ".join(str(refusal).split())
    return why


def _strangers(registry: Registry) -> Iterator[tuple[Plugin, Component]]:
    for kind in KINDS:
        for component in [claim for claims in registry.components(kind).values() for claim in claims]:
            for plugin in registry.plugins:
                owns = f"{kind}:{component.name}" in plugin.components
                if owns and plugin.distribution == component.plugin != "aepipe":
                    yield plugin, component
