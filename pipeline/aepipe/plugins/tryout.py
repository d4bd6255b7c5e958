"""Calls each factory that is not aepipe's own once, so that `aepipe plugins` can say which of them do not work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib.util import find_spec
from typing import Any

from aepipe.errors import AepipeError

from .components import ANY, Component, Plugin
from .lookup import KINDS, Registry
from .specs import options_of

# The arguments with which the factories of torch modules are tried.
NEED_TORCH: dict[str, tuple[Any, ...]] = {
    "encoder": ((1, 28, 28), 4),
    "decoder": (4, (1, 28, 28)),
    "objective": (4,),
    "density": (4,),
}


def try_factories(registry: Registry) -> None:
    """Call each factory that is not aepipe's own with its defaults, and add its errors to the plugin's errors or notes.

    Without torch, the factories of torch modules are not called.
    """
    for plugin, component in _strangers(registry):
        if component.kind in NEED_TORCH and find_spec("torch") is None:
            continue
        required = [option.name for option in options_of(component.factory) if option.required]
        if required:
            plugin.notes.append(f"{component} needs the option {', '.join(map(repr, required))}")
            continue
        try:
            with redirect_stdout(sys.stderr):
                component.factory(*NEED_TORCH.get(component.kind, ()))
        except (ValueError, AepipeError) as refusal:  # it may refuse this size or missing data
            plugin.notes.append(f"{component} refuses its defaults here: {' '.join(str(refusal).split())}")
        except ANY as error:
            plugin.fail(f"{component}: its factory raised", error)


def _strangers(registry: Registry) -> Iterator[tuple[Plugin, Component]]:
    for kind in KINDS:
        for component in [claim for claims in registry.components(kind).values() for claim in claims]:
            for plugin in registry.plugins:
                owns = f"{kind}:{component.name}" in plugin.components
                if owns and plugin.distribution == component.plugin != "aepipe":
                    yield plugin, component
