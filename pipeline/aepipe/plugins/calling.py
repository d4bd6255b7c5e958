"""A plugin's functions are called with the arguments that they name, so that the contract can grow and old plugins stay valid."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any


def call(
    function: Callable[..., Any],
    given: Mapping[str, Any],
    *,
    also: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Call a function of a plugin.

    `given` are the arguments of every function of its kind, in their usual order: a parameter of such a name gets that one,
    wherever it stands, and parameters of other names get the rest by position. `also` are those that a function gets only if
    it names them. A function that names fewer gets fewer. `options` are what the user chose, always by keyword.
    """
    parameters = _parameters(function)
    if parameters is None:
        return function(*given.values(), **(options or {}))
    named = {each.name for each in parameters if each.kind is not each.VAR_KEYWORD}
    known = {**(also or {}), **given}
    rest = [value for name, value in given.items() if name not in named]
    args: list[Any] = []
    keywords: dict[str, Any] = {}
    in_order = True  # until a parameter is left to its default
    for each in parameters:
        if each.kind is each.VAR_POSITIONAL:
            args, rest = [*args, *rest], []
        elif each.kind is each.VAR_KEYWORD:
            keywords |= {name: value for name, value in (also or {}).items() if name not in named}
        elif each.name in known or (rest and each.kind is not each.KEYWORD_ONLY):
            value = known[each.name] if each.name in known else rest.pop(0)
            if in_order and each.kind is not each.KEYWORD_ONLY:
                args.append(value)
            else:
                keywords[each.name] = value
        else:
            in_order = False
    return function(*args, **keywords, **(options or {}))


def names_of(function: Callable[..., Any]) -> frozenset[str]:
    """The names of a function's parameters; none of one that is written in C and has no signature."""
    return frozenset(each.name for each in _parameters(function) or ())


def takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a function gets an argument of this name where it is among `also`."""
    return any(each.name == name or each.kind is each.VAR_KEYWORD for each in _parameters(function) or ())


def needs(function: Callable[..., Any], name: str) -> bool:
    """Whether a function cannot be called without an argument of this name."""
    return any(each.name == name and each.default is each.empty for each in _parameters(function) or ())


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
